package main

import (
	"fmt"
	"math/rand"
	"strings"
	"text/template"
)

// Whole templates. Each is run over every set of data; a JSON null stands for "Go complains". Where all sets give the
// same, the output is printed once.
type Whole struct {
	T   string    `json:"t"`
	Out []*string `json:"out"`
}

// The data sets have one shape: that of the first is what the templates are typed against.
func data(vars m, roles l, family, version string, cpus int) m {
	return m{
		"Vars": vars,
		"Traits": m{
			"os":       m{"family": family, "version": version, "arch": "x86_64"},
			"hardware": m{"cpus": cpus},
			"virtual":  m{"inside": cpus > 2},
		},
		"Envoy": m{"hostname": "web-1.test", "environment": "production", "roles": roles},
	}
}

var worlds = []m{
	data(m{
		"s": "hello", "empty": "", "html": "<a href=\"x\">&'", "uni": "日本 é\u0301", "multi": "one\ntwo\n", "spaced": "  a b\t",
		"n": 3, "zero": 0, "neg": -7, "f": 2.5, "on": true, "off": false,
		"strs": l{"b", "a", "", "c"}, "nums": l{3, 1, 2}, "none": l{}, "mixed": l{1, "two", 2.5, true, nil},
		"lists": l{l{"x", "y"}, l{}, l{"z"}},
		"recs": l{
			m{"name": "ann", "port": 80, "on": true, "tags": l{"p", "q"}},
			m{"name": "bob", "port": 0, "on": false, "tags": l{}},
			m{"name": "", "port": -1, "on": true, "tags": l{"r"}},
		},
		"rec": m{"name": "web", "port": 8080, "on": true, "tags": l{"t1", "t2"}},
		"env": m{"b": "2", "a": "1", "A": "0", "é": "e"}, "counts": m{"y": 2, "x": 1},
	}, l{"base", "web"}, "debian", "12", 4),
	data(m{
		"s": "", "empty": "", "html": "", "uni": "", "multi": "\n", "spaced": " ",
		"n": 0, "zero": 0, "neg": -1, "f": 0.0, "on": false, "off": false,
		"strs": l{}, "nums": l{}, "none": l{}, "mixed": l{}, "lists": l{}, "recs": l{},
		"rec": m{"name": "", "port": 0, "on": false, "tags": l{}},
		"env": m{"a": ""}, "counts": m{},
	}, l{}, "rhel", "9.4", 1),
	data(m{
		"s": "a", "empty": "", "html": "&amp;", "uni": "ÿ\u00a0", "multi": "x", "spaced": "y ",
		"n": 1, "zero": 0, "neg": -1000000, "f": 1e21, "on": true, "off": false,
		"strs": l{"a"}, "nums": l{0, 0}, "none": l{}, "mixed": l{nil, false}, "lists": l{l{"a", "b", "c"}},
		"recs": l{m{"name": "zed", "port": 1, "on": false, "tags": l{"", "u"}}},
		"rec":  m{"name": "db", "port": 1, "on": false, "tags": l{"only"}},
		"env":  m{"a": "x", "zz": ""}, "counts": m{"z": 0},
	}, l{"db"}, "debian", "13", 2),
}

// Types that the values alone do not show.
var declared = map[string]string{
	"strs": "list<string>", "nums": "list<int>", "none": "list<string>", "lists": "list<list<string>>",
	"env": "map<string>", "counts": "map<int>",
}

func whole(text string) Whole {
	w := Whole{T: text}
	t, err := template.New("").Option("missingkey=error").Funcs(funcs).Parse(text)
	for _, world := range worlds {
		var out *string
		if err == nil {
			out = executed(t, world)
		}
		w.Out = append(w.Out, out)
	}
	same := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	if same(w.Out[0], w.Out[1]) && same(w.Out[0], w.Out[2]) {
		w.Out = w.Out[:1]
	}
	return w
}

func executed(t *template.Template, world m) (out *string) {
	defer func() {
		if recover() != nil {
			out = nil
		}
	}()
	var b strings.Builder
	if t.Execute(&b, world) != nil || strings.Contains(b.String(), "%!") {
		return nil
	}
	text := b.String()
	return &text
}

func templates() {
	all := []Whole{}
	seen := map[string]bool{}
	keep := func(text string, when func(Whole) bool) {
		if seen[text] {
			return
		}
		seen[text] = true
		if w := whole(text); when(w) {
			all = append(all, w)
		}
	}
	add := func(text string) { keep(text, func(Whole) bool { return true }) }
	for _, text := range wholeTable {
		add(text)
	}
	trims(add)
	// Of those that give nothing anywhere a few are enough.
	r, given, failing := rand.New(rand.NewSource(1)), 0, 0
	for given < 2500 {
		keep(random(r), func(w Whole) bool {
			if len(w.Out) == 1 && w.Out[0] == nil {
				failing++
				return failing <= 100
			}
			given++
			return true
		})
	}
	sets := l{}
	for _, world := range worlds {
		sets = append(sets, typed(world))
	}
	fmt.Println(`{ "types": ` + line(declared) + `,`)
	fmt.Println(`"data": ` + line(sets) + `,`)
	fmt.Println(`"cases": [`)
	for n, w := range all {
		fmt.Println(line(w) + comma(n, len(all)))
	}
	fmt.Println("]}")
}
