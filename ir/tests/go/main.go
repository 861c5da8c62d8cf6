// Prints cases.json or templates.json: calls of functions and whole templates, with what Go gives for them.
//
//	cd ir/tests/go && go run . calls > cases.json && go run . templates > templates.json
//
// A case of cases.json is a call of one function: `{{ f (arg 0) (arg 1) ... }}`. "fails" stands for everything Go
// complains about, in its error or as `%!` inside the text. For templates.json see templates.go.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"text/template"
)

type m = map[string]any
type l = []any

type Case struct {
	F     string `json:"f"`
	Args  []any  `json:"args"`
	Out   string `json:"out"`
	Fails bool   `json:"fails,omitempty"`
}

// typed keeps int and float apart, which JSON does not.
func typed(v any) any {
	switch v := v.(type) {
	case int:
		return m{"int": fmt.Sprint(v)}
	case float64:
		return m{"float": fmt.Sprintf("%016x", math.Float64bits(v))}
	case l:
		out := l{}
		for _, e := range v {
			out = append(out, typed(e))
		}
		return out
	case m:
		out := m{}
		for k, e := range v {
			out[k] = typed(e)
		}
		return m{"map": out}
	}
	return v
}

// The functions that are not Go's own, with Sprig's meaning (github.com/Masterminds/sprig v3).
func strval(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fmt.Sprintf("%v", v)
}

var funcs = template.FuncMap{
	"join": func(sep string, v any) string {
		list, ok := v.([]any)
		if !ok {
			if v == nil {
				return ""
			}
			return strval(v)
		}
		parts := []string{}
		for _, e := range list {
			if e != nil {
				parts = append(parts, strval(e))
			}
		}
		return strings.Join(parts, sep)
	},
	"split": func(sep, s string) []any {
		list := l{}
		for _, part := range strings.Split(s, sep) {
			list = append(list, part)
		}
		return list
	},
	"upper":   strings.ToUpper,
	"lower":   strings.ToLower,
	"trim":    strings.TrimSpace,
	"replace": func(old, new, s string) string { return strings.Replace(s, old, new, -1) },
	"quote": func(args ...any) string {
		out := []string{}
		for _, v := range args {
			if v != nil {
				out = append(out, fmt.Sprintf("%q", strval(v)))
			}
		}
		return strings.Join(out, " ")
	},
	"squote": func(args ...any) string {
		out := []string{}
		for _, v := range args {
			if v != nil {
				out = append(out, fmt.Sprintf("'%v'", v))
			}
		}
		return strings.Join(out, " ")
	},
	"indent": func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(s, "\n", "\n"+pad)
	},
	"nindent": func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return "\n" + pad + strings.ReplaceAll(s, "\n", "\n"+pad)
	},
	// Not Sprig's: 0, false and an empty list are values too.
	"default": func(fallback, v any) any {
		if v == nil || v == "" {
			return fallback
		}
		return v
	},
	"toJson": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	},
	"sha256": func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	},
	"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
}

// Where the language is stricter than Go.
func missingKey(f string, args []any) bool {
	if f != "index" || len(args) != 2 {
		return false
	}
	item, ok := args[0].(m)
	key, text := args[1].(string)
	_, there := item[key]
	return ok && text && !there
}

func run(f string, args ...any) Case {
	c := Case{F: f, Args: l{}}
	text := "{{ " + f
	for n, a := range args {
		c.Args = append(c.Args, typed(a))
		text += fmt.Sprintf(" (index . %d)", n)
	}
	if f == "emit" {
		text = "{{ index . 0"
	}
	t, err := template.New("").Funcs(funcs).Parse(text + " }}")
	var b strings.Builder
	if err == nil {
		func() {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%v", p)
				}
			}()
			err = t.Execute(&b, reflect.ValueOf(args).Interface())
		}()
	}
	c.Out = b.String()
	if err != nil || missingKey(f, args) || (f == "printf" && strings.Contains(c.Out, "%!")) {
		c.Out, c.Fails = "", true
	}
	return c
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "calls":
		calls()
	case len(os.Args) == 2 && os.Args[1] == "templates":
		templates()
	default:
		fmt.Fprintln(os.Stderr, "say what to print: calls or templates")
		os.Exit(64)
	}
}

func calls() {
	cases := []Case{}
	for _, c := range table {
		cases = append(cases, run(c[0].(string), c[1:]...))
	}
	for _, f := range floats {
		cases = append(cases, run("emit", f), run("toJson", f))
		for _, format := range floatFormats {
			cases = append(cases, run("printf", format, f))
		}
	}
	for _, n := range ints {
		cases = append(cases, run("emit", n), run("toJson", n))
		for _, format := range intFormats {
			cases = append(cases, run("printf", format, n))
		}
	}
	for _, s := range texts {
		for _, f := range []string{"emit", "html", "js", "urlquery", "upper", "lower", "trim", "quote", "squote", "toJson", "sha256", "base64", "len", "not"} {
			cases = append(cases, run(f, s))
		}
		for _, format := range textFormats {
			cases = append(cases, run("printf", format, s))
		}
	}
	for _, a := range operands {
		for _, b := range operands {
			for _, f := range []string{"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "print", "println", "html"} {
				cases = append(cases, run(f, a, b))
			}
		}
	}
	fmt.Println("[")
	for n, c := range cases {
		fmt.Println(line(c) + comma(n, len(cases)))
	}
	fmt.Println("]")
}

// line is v as JSON on one line.
func line(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func comma(n, of int) string {
	if n+1 < of {
		return ","
	}
	return ""
}
