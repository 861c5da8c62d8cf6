package main

import (
	"math/rand"
	"strings"
)

// What a random expression gives.
type kind int

const (
	root kind = iota - 1
	str
	num
	flt
	boolean
	strs
	nums
	recs
	lists
	rec
	env
	counts
	mixed
	anything
)

var variables = map[kind][]string{
	str:     {"Vars.s", "Vars.empty", "Vars.html", "Vars.uni", "Vars.multi", "Vars.spaced", "Vars.rec.name", "Traits.os.family", "Envoy.environment", "Traits.os.version"},
	num:     {"Vars.n", "Vars.zero", "Vars.neg", "Vars.rec.port", "Traits.hardware.cpus"},
	flt:     {"Vars.f"},
	boolean: {"Vars.on", "Vars.off", "Vars.rec.on", "Traits.virtual.inside"},
	strs:    {"Vars.strs", "Vars.none", "Vars.rec.tags", "Envoy.roles"},
	nums:    {"Vars.nums"},
	recs:    {"Vars.recs"},
	lists:   {"Vars.lists"},
	rec:     {"Vars.rec"},
	env:     {"Vars.env"},
	counts:  {"Vars.counts"},
	mixed:   {"Vars.mixed"},
}

// The kind of an element.
var elements = map[kind]kind{strs: str, nums: num, recs: rec, lists: strs, env: str, counts: num, mixed: anything}

type local struct {
	name string
	kind kind
}

type generator struct {
	r      *rand.Rand
	b      strings.Builder
	locals []local
	dot    kind
	depth  int
	loops  int
}

// A template of at most 500 bytes.
func random(r *rand.Rand) string {
	for {
		g := generator{r: r, dot: root}
		g.body(2 + r.Intn(4))
		if g.b.Len() <= 500 {
			return g.b.String()
		}
	}
}

func (g *generator) pick(from ...string) string { return from[g.r.Intn(len(from))] }

func (g *generator) once(in int) bool { return g.r.Intn(in) == 0 }

// Space between the words of an action, in which it does not matter.
func (g *generator) gap() string {
	if g.once(12) {
		return g.pick("  ", "\t", "\n", "\r\n", " \n  ")
	}
	return " "
}

func (g *generator) action(inside string) {
	open, end := "{{", "}}"
	before, after := g.gap(), g.gap()
	if g.once(5) {
		before = ""
	}
	if g.once(5) {
		after = ""
	}
	if g.once(4) {
		open, before = "{{-", g.gap()
	}
	if g.once(4) {
		end, after = "-}}", g.gap()
	}
	g.b.WriteString(open + before + inside + after + end)
}

func (g *generator) text() {
	for n := 1 + g.r.Intn(3); n > 0; n-- {
		g.b.WriteString(g.pick("a", "b c", "x=", ",", ";", "<&>", "é", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\v", "\u00a0", "{ }", "}}", "-", "\"", "`", "#", "/*"))
	}
}

func (g *generator) literal(k kind) string {
	switch k {
	case num:
		return g.pick("0", "1", "2", "-1", "10", "+4", "0x1F", "0b101", "0o17", "017", "1_000")
	case flt:
		return g.pick("0.5", "1.0", "-2.25", ".5", "1e3", "1.5e-7")
	case boolean:
		return g.pick("true", "false")
	default:
		return g.pick(`"lit"`, `""`, "`raw`", "`r\\n`", `"q\"q"`, `"\t\u00e9\x41\101"`, `"%"`, "`{{ x }}`", `"}}"`)
	}
}

// A variable of the data, a template variable or the dot; "" when there is none.
func (g *generator) path(k kind) string {
	all := []string{}
	for _, v := range variables[k] {
		if g.dot == root {
			all = append(all, "."+v)
		}
		all = append(all, "$."+v)
	}
	hidden := map[string]bool{}
	for n := len(g.locals) - 1; n >= 0; n-- {
		l := g.locals[n]
		if hidden[l.name] {
			continue
		}
		hidden[l.name] = true
		if l.kind == k {
			all = append(all, l.name, l.name, l.name)
		}
		if l.kind == rec {
			all = append(all, fields(l.name, k)...)
		}
	}
	if g.dot == k && k != root {
		all = append(all, ".", ".", ".", ".")
	}
	if g.dot == rec {
		own := fields("", k)
		all = append(all, own...)
		all = append(all, own...)
	}
	if len(all) == 0 {
		return ""
	}
	return all[g.r.Intn(len(all))]
}

func fields(of string, k kind) []string {
	switch k {
	case str:
		return []string{of + ".name"}
	case num:
		return []string{of + ".port"}
	case boolean:
		return []string{of + ".on"}
	case strs:
		return []string{of + ".tags"}
	}
	return nil
}

func (g *generator) some() kind {
	return []kind{str, str, str, num, num, boolean, strs, nums, flt, rec, env, counts, mixed, recs, lists}[g.r.Intn(15)]
}

// An operand.
func (g *generator) operand(k kind) string {
	if k == anything {
		k = g.some()
	}
	g.depth++
	defer func() { g.depth-- }()
	if g.depth < 4 && g.once(4) {
		if call := g.call(k); call != "" {
			return "(" + g.piped(call) + ")"
		}
	}
	if k <= boolean && g.once(4) {
		return g.literal(k)
	}
	if path := g.path(k); path != "" {
		return path
	}
	return g.literal(k)
}

// Sometimes with its last argument before it.
func (g *generator) piped(call string) string {
	at := strings.LastIndex(call, "\x00")
	plain := strings.ReplaceAll(call, "\x00", "")
	if at < 0 || g.once(2) {
		return plain
	}
	return strings.ReplaceAll(call[at+1:], "\x00", "") + g.pick(" | ", "|", " |\n") + strings.TrimRight(strings.ReplaceAll(call[:at], "\x00", ""), " \t\r\n")
}

func (g *generator) with(function string, kinds ...kind) string {
	out := function
	for n, k := range kinds {
		out += g.gap()
		arg := strings.ReplaceAll(g.operand(k), "\x00", "")
		if n == len(kinds)-1 {
			// where `piped` may cut
			out += "\x00"
		}
		out += arg
	}
	return out
}

// A call; a NUL stands before its last argument.
func (g *generator) call(k kind) string {
	switch k {
	case str:
		switch g.r.Intn(16) {
		case 0, 1:
			return g.with(g.pick("upper", "lower", "trim", "quote", "squote", "html", "js", "urlquery", "base64"), str)
		case 2:
			return g.with("print", anything, anything)
		case 3:
			return g.with(g.pick(`printf "%s/%v"`, `printf "%q-%v"`, "printf `%5s|%v`", `printf "%-6s|%+v"`), str, anything)
		case 4:
			return g.with(g.pick(`printf "%d"`, `printf "%03d"`, `printf "%x"`), num)
		case 5:
			return g.with(g.pick(`printf "%.2f"`, `printf "%g"`), flt)
		case 6:
			return g.with("join "+g.pick(`","`, `""`, "`, `"), g.list())
		case 7:
			return g.with("replace "+g.pick(`"a" "b"`, `"" "-"`, `"l" ""`), str)
		case 8:
			return g.then(g.pick("0", "0", "1"), "index", strs)
		case 9:
			return g.then(`"a"`, "index", env)
		case 10:
			return "default " + g.literal(str) + " (index " + g.operand(env) + ` "zz")`
		case 11:
			return g.with("default "+g.literal(str), str)
		case 12:
			return g.with(g.pick("or", "and"), str, str)
		case 13:
			return g.with(g.pick("indent 2", "nindent 1", "toJson"), str)
		case 14:
			return g.with("toJson", anything)
		default:
			return `slice "abcdef" ` + g.pick("1", "0 2", "2 4")
		}
	case num:
		switch g.r.Intn(4) {
		case 0:
			return g.with("len", strs)
		case 1:
			return g.with("len", []kind{str, env, recs, nums, lists}[g.r.Intn(5)])
		case 2:
			return g.with("or", num, num)
		default:
			return g.then(g.pick("0", "0", "1"), "index", nums)
		}
	case boolean:
		switch g.r.Intn(8) {
		case 0, 1:
			return g.with(g.pick("eq", "ne"), str, str)
		case 2:
			return g.with(g.pick("eq", "ne", "lt", "le", "gt", "ge"), num, num)
		case 3:
			return g.with("eq", str, str, str)
		case 4, 5:
			return g.with("not", anything)
		case 6:
			return g.with(g.pick("and", "or"), boolean, boolean)
		default:
			return g.with(g.pick("lt", "ge"), str, str)
		}
	case strs:
		switch g.r.Intn(3) {
		case 0:
			return g.with("split "+g.pick(`","`, `""`, `" "`), str)
		case 1:
			return g.then("0", "index", lists)
		default:
			return g.then(g.pick("0", "0", "1"), "slice", strs)
		}
	case rec:
		return g.then(g.pick("0", "0", "1"), "index", recs)
	case anything:
		return g.with(g.pick("or", "and"), anything, anything)
	}
	return ""
}

// The same with a literal behind it, which is then the last argument.
func (g *generator) then(last, function string, kinds ...kind) string {
	return strings.ReplaceAll(g.with(function, kinds...), "\x00", "") + " \x00" + last
}

func (g *generator) list() kind { return []kind{strs, strs, nums, mixed}[g.r.Intn(4)] }

// What stands in an action.
func (g *generator) pipeline(k kind) string {
	if k == anything {
		k = g.some()
	}
	if g.once(2) {
		if call := g.call(k); call != "" {
			return g.piped(call)
		}
	}
	return strings.ReplaceAll(g.operand(k), "\x00", "")
}

func (g *generator) fresh() string { return g.pick("$a", "$b", "$c", "$x1") }

func (g *generator) body(count int) {
	scope := len(g.locals)
	for ; count > 0; count-- {
		g.node()
	}
	g.locals = g.locals[:scope]
}

// A body that is not always there; in it may be more of everything.
func (g *generator) inner() {
	g.depth++
	if g.depth > 3 {
		g.text()
	} else {
		g.body(g.r.Intn(3))
	}
	g.depth--
}

func (g *generator) node() {
	choice := g.r.Intn(20)
	if g.depth > 3 && choice >= 7 {
		choice %= 7
	}
	switch {
	case choice < 3:
		g.text()
	case choice < 7:
		g.action(g.pipeline(anything))
	case choice < 8:
		g.b.WriteString(g.pick("{{/* c */}}", "{{- /* c\n }} */ -}}", "{{/**/ -}}", "{{- /* - */}}"))
	case choice < 11:
		g.choose()
	case choice < 14:
		g.repeat()
	case choice < 16:
		g.rebind()
	case choice < 18:
		k := g.some()
		name := g.fresh()
		value := g.pipeline(k)
		g.action(name + g.pick(" := ", ":=", " :=\n") + value)
		g.locals = append(g.locals, local{name, k})
	case choice < 19:
		g.assign()
	case g.loops > 0:
		leave := g.pick("break", "continue")
		if g.once(3) {
			g.action(leave)
			return
		}
		g.action("if " + g.pipeline(boolean))
		g.inner()
		g.action(leave)
		g.action("end")
	default:
		g.text()
	}
}

func (g *generator) assign() {
	hidden := map[string]bool{}
	seen := []local{}
	for n := len(g.locals) - 1; n >= 0; n-- {
		if !hidden[g.locals[n].name] {
			hidden[g.locals[n].name] = true
			seen = append(seen, g.locals[n])
		}
	}
	if len(seen) == 0 {
		g.text()
		return
	}
	l := seen[g.r.Intn(len(seen))]
	g.action(l.name + g.pick(" = ", " =") + g.pipeline(l.kind))
}

func (g *generator) choose() {
	scope := len(g.locals)
	k := g.some()
	if g.once(2) {
		k = boolean
	}
	condition := g.pipeline(k)
	if g.once(5) {
		name := g.fresh()
		condition = name + " := " + condition
		g.locals = append(g.locals, local{name, k})
	}
	g.action("if" + g.gap() + condition)
	g.inner()
	for n := g.r.Intn(3); n > 0; n-- {
		g.action("else if" + g.gap() + g.pipeline(boolean))
		g.inner()
	}
	if g.once(2) {
		g.action("else")
		g.inner()
	}
	g.action("end")
	g.locals = g.locals[:scope]
}

func (g *generator) repeat() {
	scope := len(g.locals)
	over := []kind{strs, strs, nums, recs, lists, env, counts, mixed}[g.r.Intn(8)]
	list := g.path(over)
	// What gives one of several types cannot be ranged over.
	if over != mixed {
		list = g.pipeline(over)
	}
	of := elements[over]
	key := num
	if over == env || over == counts {
		key = str
	}
	switch g.r.Intn(4) {
	case 0, 1:
		g.action("range" + g.gap() + list)
	case 2:
		name := g.fresh()
		g.action("range " + name + " := " + list)
		g.locals = append(g.locals, local{name, of})
	default:
		k, v := g.fresh(), "$v"
		g.action("range " + k + g.pick(", ", ",", " , ") + v + " := " + list)
		g.locals = append(g.locals, local{k, key}, local{v, of})
	}
	dot := g.dot
	g.dot = of
	g.loops++
	g.inner()
	g.loops--
	g.dot = dot
	if g.once(3) {
		// What the variables of the range hold here is in the table; here they are left alone.
		kept, loops := g.locals, g.loops
		g.locals, g.loops = g.locals[:scope:scope], 0
		g.action("else")
		g.inner()
		g.locals, g.loops = kept, loops
	}
	g.action("end")
	g.locals = g.locals[:scope]
}

func (g *generator) rebind() {
	scope := len(g.locals)
	k := g.some()
	value := g.pipeline(k)
	if g.once(3) {
		name := g.fresh()
		value = name + " := " + value
		g.locals = append(g.locals, local{name, k})
	}
	g.action("with" + g.gap() + value)
	dot := g.dot
	g.dot = k
	g.inner()
	g.dot = dot
	if g.once(2) {
		g.action("else")
		g.inner()
	}
	g.action("end")
	g.locals = g.locals[:scope]
}
