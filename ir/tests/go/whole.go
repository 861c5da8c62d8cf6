package main

// trims writes every kind of space on both sides of actions, comments and keywords, with and without markers.
func trims(add func(string)) {
	spaces := []string{"", " ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\u00a0", "\u0085", "\u2028", "\u3000", "\ufeff", " \n\t ", "\n\u00a0\n", "a \n"}
	markers := [][2]string{{"{{ ", " }}"}, {"{{- ", " }}"}, {"{{ ", " -}}"}, {"{{- ", " -}}"}}
	comments := [][2]string{{"{{", "}}"}, {"{{- ", "}}"}, {"{{", " -}}"}, {"{{- ", " -}}"}}
	for _, left := range spaces {
		for _, right := range spaces {
			for n, m := range markers {
				add("<" + left + m[0] + `"x"` + m[1] + right + ">")
				if n > 0 {
					c := comments[n]
					add("<" + left + c[0] + "/* c */" + c[1] + right + ">")
				}
			}
		}
		for _, m := range markers {
			o, c := m[0], m[1]
			add(left + o + "if .Vars.on" + c + left + "yes" + left + o + "else" + c + left + "no" + left + o + "end" + c + left)
			add(left + o + "range .Vars.strs" + c + left + "{{ . }}" + left + o + "else" + c + left + o + "end" + c + left)
			add(left + o + "$x := 1" + c + left + o + "$x" + c + left + o + "$x = 2" + c + left + o + "$x" + c)
		}
		for _, space := range spaces {
			// What may stand between a delimiter, its marker and the action.
			add("<{{" + space + "1" + left + "}}>")
			add("< {{-" + space + "1" + left + "-}} >")
			add("< {{" + left + "-" + space + "1 }} >")
			add("< {{ 1" + space + "-" + left + "}} >")
			add("<{{ print" + space + "1" + left + "2 }}>")
			add("< {{-" + space + "/* c */" + left + "-}} >")
		}
	}
}

var wholeTable = []string{
	"", " ", "\n", "a", "{", "{{", "}}", "{{}}", "{{ }}", "{{-}}", "{{- }}", "{{ -}}", "{{- -}}", "{{-  -}}", "a }} b", "{ {{ 1 }} }", "{{{ 1 }}", "{{ 1 }}}", "a{{{{ 1 }}", "{{ 1 }}{{ 2 }}",
	"{{1}}", "{{-1}}", "{{- 1}}", "{{1-}}", "{{1 -}}", "{{ -1 }}", "{{ - 1 }}", "{{--1}}", "{{- -1 -}}", "a {{- -1 -}} b", "{{3 -}} x", "{{ 1 - }}", "{{\n1\n}}", "{{\r\n1\r\n}}", "{{\t1\t}}",

	// comments
	"{{/* a */}}", "{{ /* a */ }}", "{{/* a */ }}", "{{ /* a */}}", "{{- /* a */ -}}", "{{-/* a */-}}", "{{/**/}}", "{{/*/}}", "{{/* a", "{{/* a */", "{{/* {{ }} */}}", "{{/* a\nb */}}",
	"a\n{{/* a */}}\nb", "a\n{{- /* a */ -}}\nb", "{{/* a */ 1}}", "{{1 /* a */}}", "{{/* a */}}{{/* b */}}", "{{/* /* */}}", "{{/* */ */}}", "{{/* a */-}} b", "{{/* a */ -}} b", "{{// a }}",

	// numbers
	"{{ 0 }} {{ 00 }} {{ 017 }} {{ 0x1f }} {{ 0X1F }} {{ 0b11 }} {{ 0B11 }} {{ 0o17 }} {{ 0O17 }}", "{{ 1_000 }}", "{{ 1__0 }}", "{{ _1 }}", "{{ 1_ }}", "{{ 08 }}", "{{ 0x }}", "{{ 1e3 }}", "{{ 1E3 }}", "{{ 1e+3 }}",
	"{{ 1e-3 }}", "{{ 1.5 }}", "{{ .5 }}", "{{ 5. }}", "{{ +5 }}", "{{ +.5 }}", "{{ -0 }}", "{{ -0.0 }}", "{{ 0x1p4 }}", "{{ 0x1.8p1 }}", "{{ 1e400 }}", "{{ 1i }}", "{{ 1+2i }}", "{{ 9223372036854775807 }}",
	"{{ 9223372036854775808 }}", "{{ -9223372036854775808 }}", "{{ 18446744073709551615 }}", "{{ 1e18 }}", "{{ 1e20 }}", "{{ 1a }}", "{{ 0xg }}", "{{ 1.2.3 }}", "{{ 'a' }}", "{{ '\\n' }}", "{{ 1.0 }} {{ 100.0 }} {{ 1e21 }}",
	"{{ print 1e3 }}", "{{ printf \"%d\" 1e3 }}", "{{ eq 1 1.0 }}", "{{ eq 1e3 1000 }}", "{{ index .Vars.strs 0x0 }}", "{{ lt 1 1.5 }}", "{{ printf \"%d\" 1.0 }}", "{{ printf \"%f\" 1 }}", "{{ index .Vars.strs 1.0 }}",

	// texts
	"{{ \"a\" }}", "{{ `a` }}", "{{ \"a\nb\" }}", "{{ `a\nb` }}", "{{ `a\\nb` }}", "{{ \"a\\nb\" }}", "{{ \"\\x41\\101\\u00e9\\U0001F600\" }}", "{{ \"\\q\" }}", "{{ \"\\'\" }}", "{{ \"'\" }}", "{{ \"\\\"\" }}", "{{ `\"` }}",
	"{{ \"}}\" }}", "{{ `}}` }}", "{{ \"{{\" }}", "{{ `{{ 1 }}` }}", "{{ \"a", "{{ `a", "{{ \"a }}\" }}", "{{ \"\\xff\" }}", "{{ \"\\ud800\" }}", "{{ \"\\400\" }}", "{{ \"\\0\" }}", "{{ \"\\a\\b\\f\\n\\r\\t\\v\\\\\" }}", "{{ `a\r\nb` }}", "{{ `\r` }}",
	"{{ \"a\"\"b\" }}", "{{ print \"a\"\"b\" }}", "{{ print `a``b` }}", "{{ print \"a\" \"b\" }}", "{{ print 1\"a\" }}", "{{ print(\"a\") }}", "{{ print (\"a\")(\"b\") }}", "{{ print (1) (2) }}", "{{ (1) }}", "{{ ((1)) }}", "{{ (1 }}", "{{ 1) }}", "{{ () }}",

	// pipelines and parentheses
	"{{ .Vars.s | upper }}", "{{ .Vars.s | upper | lower | quote }}", "{{ .Vars.s|upper|lower }}", "{{ .Vars.s | printf \"%s-%s\" \"a\" }}", "{{ printf \"%d\" (len .Vars.strs) }}", "{{ (printf \"%s\" .Vars.s) | upper }}",
	"{{ 1 | print 2 | print 3 }}", "{{ | upper }}", "{{ upper | }}", "{{ .Vars.s | }}", "{{ .Vars.s || upper }}", "{{ 1 | 2 }}", "{{ .Vars.s | .Vars.s }}", "{{ upper .Vars.s | len }}", "{{ (index .Vars.recs 0).name }}",
	"{{ (index .Vars.recs 0).tags | join \",\" }}", "{{ (index .Vars.lists 0) | len }}", "{{ (.Vars.rec).name }}", "{{ (.Vars.rec).nothing }}", "{{ $.Vars.s }}", "{{ $ }}", "{{ . }}", "{{ .Vars }}", "{{ (.Vars).s }}", "{{ ($).Vars.s }}", "{{ (.).Vars.s }}",
	"{{ with $x := .Vars.rec }}{{ ($x).name }}{{ end }}", "{{ print .Vars.s.Vars }}", "{{ .Vars .s }}", "{{ . Vars }}", "{{ .Vars. s }}", "{{ ..Vars }}", "{{ .Vars..s }}", "{{ .Vars.s. }}", "{{ nil }}", "{{ print nil }}", "{{ nil | print }}",
	"{{ true }} {{ false }}", "{{ true | not }}", "{{ not true | print 1 }}", "{{ and }}", "{{ or }}", "{{ not }}", "{{ len }}", "{{ print }}", "{{ println }}", "{{ print | len }}", "{{ and true false | not }}", "{{ true.x }}", "{{ 1.x }}",
	"{{ \"a\".x }}", "{{ len (split \",\" \"a,b\") }}", "{{ index (split \",\" \"a,b\") 1 }}", "{{ upper(.Vars.s) }}", "{{ (upper .Vars.s) }}", "{{ (upper) .Vars.s }}", "{{ .Vars.s upper }}", "{{ .Vars.s \"x\" }}", "{{ unknown }}", "{{ unknown 1 }}", "{{ upper . }}",
	"{{ call .Vars.s }}", "{{ .Vars.s.x }}", "{{ .Vars.missing }}", "{{ .missing }}", "{{ .Vars.rec.missing }}", "{{ .Vars.env.a }}", "{{ .Vars.env.zz }}", "{{ .Vars.env.é }}", "{{ .Vars.env.a.b }}", "{{ index .Vars.env \"a\" | print }}",
	"{{ and 1 0 .Vars.missing }}", "{{ or 1 (index .Vars.strs 99) }}", "{{ and 0 (index .Vars.strs 99) }}", "{{ or 0 (index .Vars.strs 99) }}", "{{ and .Vars.off (index .Vars.strs 99) }}", "{{ and .Vars.on (index .Vars.strs 0) }}",

	// if
	"{{ if .Vars.on }}1{{ end }}", "{{ if .Vars.off }}1{{ end }}", "{{ if .Vars.off }}1{{ else }}2{{ end }}", "{{ if .Vars.off }}1{{ else if .Vars.on }}2{{ else }}3{{ end }}",
	"{{ if eq .Vars.n 0 }}0{{ else if eq .Vars.n 1 }}1{{ else if eq .Vars.n 3 }}3{{ else }}?{{ end }}", "{{ if .Vars.off }}{{ else }}{{ end }}", "{{ if 1 }}{{ if 0 }}a{{ else }}b{{ end }}{{ else }}c{{ end }}",
	"{{ if \"\" }}a{{ else }}b{{ end }}", "{{ if .Vars.none }}a{{ else }}b{{ end }}", "{{ if .Vars.env }}a{{ else }}b{{ end }}", "{{ if 0.0 }}a{{ else }}b{{ end }}", "{{ if nil }}a{{ end }}", "{{ if .Vars.rec }}a{{ else }}b{{ end }}", "{{ if \" \" }}a{{ else }}b{{ end }}",
	"{{ if }}a{{ end }}", "{{ if 1 }}a", "{{ end }}", "{{ else }}", "{{ if 1 }}a{{ else }}b{{ else }}c{{ end }}", "{{ if 1 }}a{{ else }}b{{ else if 1 }}c{{ end }}", "{{ if 1 }}a{{ end }}{{ end }}", "{{ if 1 2 }}a{{ end }}", "{{if 1}}a{{else}}b{{end}}", "{{ if 1 }}a{{ elseif 1 }}b{{ end }}",
	"{{ if 1 }}a{{ else  if 1 }}b{{ end }}", "{{ if 1 }}a{{ else\nif 0 }}b{{ end }}", "{{ if 1 }}a{{ else with 1 }}b{{ end }}", "{{ if 1 }}a{{ else range .Vars.strs }}b{{ end }}", "{{ if 1 }}a{{ end 1 }}", "{{ if 1 }}a{{ else 1 }}b{{ end }}", "{{ if(1) }}a{{ end }}", "{{ if.Vars.on }}a{{ end }}", "{{ if\"x\" }}a{{ end }}", "{{ if$.Vars.on }}a{{ end }}",
	"{{ if $x := .Vars.s }}{{ $x }}{{ else }}[{{ $x }}]{{ end }}", "{{ if $x := .Vars.s }}1{{ end }}{{ $x }}", "{{ if $x := 0 }}1{{ else if $y := 2 }}{{ $x }}{{ $y }}{{ end }}", "{{ $x := 1 }}{{ if $x = 0 }}1{{ else }}2{{ end }}{{ $x }}", "{{ $x := 1 }}{{ if $x := 2 }}{{ $x }}{{ end }}{{ $x }}",
	"{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "{{ if true }}{{ $x := 2 }}{{ else }}{{ $x }}{{ end }}", "{{ if $x, $y := 1 }}{{ end }}",

	// variables
	"{{ $x := 1 }}{{ $x }}", "{{ $x }}", "{{ $x = 1 }}", "{{ $x:=1 }}{{$x}}", "{{ $x := 1 }}{{ $x=2 }}{{ $x }}", "{{ $x := 1 }}{{ $x =2 }}{{ $x }}", "{{ $x := 1 }}{{ $x= 2 }}{{ $x }}", "{{ $x :=1 }}{{$x}}", "{{ $x : = 1 }}", "{{ $x := 1 }}{{ $x := $x }}{{ $x }}", "{{ $x := 1 }}{{ $x := \"a\" }}{{ $x }}", "{{ $x := 1 }}{{ $x = \"a\" }}{{ $x }}",
	"{{ $x := 1 }}{{ $y := $x }}{{ $x = 2 }}{{ $y }}{{ $x }}", "{{ $é := 1 }}{{ $é }}", "{{ $_ := 1 }}{{ $_ }}", "{{ $1 := 1 }}{{ $1 }}", "{{ $x1 := 1 }}{{ $x1 }}", "{{ $ := 1 }}", "{{ $ = 1 }}", "{{ $x.y := 1 }}", "{{ $x := .Vars.rec }}{{ $x.name }}{{ $x.port }}", "{{ $x := .Vars.rec }}{{ $x.missing }}",
	"{{ $x := 1 | print 2 }}{{ $x }}", "{{ print ($x := 1) }}", "{{ ($x := 1) }}", "{{ $x, $y := .Vars.strs }}", "{{ $x := }}", "{{ := 1 }}", "{{ $x := 1 $y := 2 }}", "{{ $x $y }}", "{{ $x := 1 }}{{ $x$x }}", "{{ $x := 1 }}{{ print $x$x }}", "{{ $x := 1 }}{{ print $x(1) }}", "{{ $x := .Vars.s }}{{ $x | upper }}", "{{ $x := nil }}", "{{ $x := .Vars.none }}{{ len $x }}",
	"{{ $x := 1 }}{{ $X := 2 }}{{ $x }}{{ $X }}", "{{ $x := .Vars.rec }}{{ with $x }}{{ .name }}{{ $x.port }}{{ end }}", "{{$x := 1}} {{- $y := 2 -}} {{$x}}{{$y}}", "{{ $x := 1 }}{{ $x.y }}", "{{ $x := true }}{{ if $x }}{{ $x = false }}{{ end }}{{ $x }}",

	// range
	"{{ range .Vars.strs }}<{{ . }}>{{ end }}", "{{ range .Vars.strs }}{{ else }}none{{ end }}", "{{ range .Vars.none }}x{{ else }}none{{ end }}", "{{ range $i, $v := .Vars.strs }}{{ $i }}{{ $v }}{{ end }}", "{{ range $v := .Vars.strs }}{{ $v }}{{ . }}{{ end }}",
	"{{ range $k, $v := .Vars.env }}{{ $k }}={{ $v }};{{ end }}", "{{ range .Vars.env }}{{ . }};{{ end }}", "{{ range $k, $v := .Vars.counts }}{{ $k }}={{ $v }};{{ else }}empty{{ end }}", "{{ range $k, $v := .Vars.rec }}{{ $k }}={{ $v }};{{ end }}", "{{ range .Vars.rec }}{{ . }},{{ end }}", "{{ range .Vars.mixed }}<{{ . }}>{{ end }}",
	"{{ range $i, $v := .Vars.mixed }}{{ if $v }}{{ $i }}{{ end }}{{ end }}", "{{ range $v := .Vars.none }}x{{ else }}{{ $v }}{{ end }}", "{{ range $i, $v := .Vars.none }}x{{ else }}{{ $i }}{{ $v }}{{ end }}", "{{ range $i, $v := .Vars.strs }}x{{ else }}{{ $i }}|{{ len $v }}{{ end }}", "{{ range $v := .Vars.strs }}x{{ else }}{{ $v }}{{ $.Vars.s }}{{ end }}",
	"{{ range .Vars.n }}x{{ end }}", "{{ range 3 }}x{{ end }}", "{{ range .Vars.s }}x{{ end }}", "{{ range nil }}x{{ else }}y{{ end }}", "{{ range }}x{{ end }}", "{{ range $i, $v, $w := .Vars.strs }}x{{ end }}", "{{ range $i $v := .Vars.strs }}x{{ end }}", "{{ range $i, := .Vars.strs }}x{{ end }}", "{{ range $i, $v }}x{{ end }}", "{{ range $i,$v:=.Vars.strs }}{{ $i }}{{ end }}",
	"{{ $v := 0 }}{{ range $v = .Vars.nums }}x{{ end }}{{ $v }}", "{{ $v := 0 }}{{ range $v := .Vars.nums }}{{ $v }}{{ end }}{{ $v }}", "{{ $n := 0 }}{{ range .Vars.nums }}{{ $n = . }}{{ end }}{{ $n }}", "{{ $s := \"\" }}{{ range .Vars.strs }}{{ $s = print $s . }}{{ end }}{{ $s }}", "{{ range .Vars.strs }}{{ $n := . }}{{ $n }}{{ end }}{{ $n }}",
	"{{ range .Vars.recs }}{{ .name }}:{{ .port }} {{ range .tags }}{{ . }}{{ $.Vars.n }}{{ end }};{{ end }}", "{{ range $i, $r := .Vars.recs }}{{ range $j, $t := .tags }}{{ $i }}{{ $j }}{{ $t }}{{ $r.name }}{{ end }}{{ end }}", "{{ range .Vars.lists }}[{{ range . }}{{ . }}{{ else }}-{{ end }}]{{ else }}none{{ end }}",
	"{{ range $i, $_ := .Vars.strs }}{{ $i }}{{ end }}", "{{ range $i, $i := .Vars.strs }}{{ $i }}{{ end }}", "{{ range split \",\" \"a,b\" }}{{ . }};{{ end }}", "{{ range \"a,b\" | split \",\" }}{{ . }};{{ end }}", "{{ range (slice .Vars.nums 0 1) }}{{ . }}{{ end }}", "{{ range .Vars.strs }}{{ .Vars }}{{ end }}", "{{ range .Vars.recs }}{{ .Vars }}{{ end }}", "{{ range .Vars.strs }}{{ .x }}{{ end }}",
	"{{ range .Vars.strs }}{{ $.Envoy.hostname }}{{ end }}", "{{ range .Envoy.roles }}{{ . }} {{ end }}", "{{ range $k, $v := .Vars.env }}{{ len $k }}{{ end }}", "{{ range or .Vars.none .Vars.strs }}{{ . }}{{ end }}", "{{ range .Vars.strs }}a{{ end }}b{{ end }}", "{{ range .Vars.strs }}", "{{range .Vars.strs -}}\n  {{.}}\n{{end}}", "{{range .Vars.strs}}\n  {{- .}}\n{{- end}}",
	"{{ range $x := .Vars.strs }}{{ $x = \"q\" }}{{ $x }}{{ . }}{{ end }}", "{{ range $i, $x := .Vars.recs }}{{ if $x.on }}{{ $x = index $.Vars.recs 0 }}{{ $i = 9 }}{{ end }}{{ $i }}{{ $x.name }}{{ .name }};{{ else }}{{ $x }}{{ end }}", "{{ range $x := .Vars.strs }}{{ $x := 1 }}{{ $x }}{{ end }}", "{{ range .Vars.strs }}{{ with . }}<{{ . }}>{{ else }}[{{ . }}]{{ end }}{{ end }}", "{{ range .Vars.strs }}{{ . | upper | printf \"%s!\" }}{{ end }}",

	// break and continue
	"{{ range .Vars.strs }}{{ break }}{{ . }}{{ end }}", "{{ range .Vars.strs }}{{ . }}{{ break }}{{ end }}", "{{ range .Vars.strs }}{{ continue }}{{ . }}{{ end }}", "{{ range .Vars.strs }}{{ if eq . \"a\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "{{ range .Vars.strs }}{{ if eq . \"a\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
	"{{ range .Vars.lists }}{{ range . }}{{ if eq . \"y\" }}{{ break }}{{ end }}{{ . }}{{ end }};{{ end }}", "{{ range .Vars.lists }}{{ range . }}{{ . }}{{ else }}{{ break }}{{ end }};{{ end }}", "{{ range .Vars.lists }}{{ range . }}{{ . }}{{ else }}{{ continue }}{{ end }};{{ end }}", "{{ break }}", "{{ continue }}", "{{ if 1 }}{{ break }}{{ end }}", "{{ range .Vars.strs }}{{ else }}{{ break }}{{ end }}",
	"{{ range .Vars.strs }}{{ break 1 }}{{ end }}", "{{ range .Vars.strs }}{{ break | print }}{{ end }}", "{{ range .Vars.strs }}{{ with . }}{{ break }}{{ end }}{{ . }}{{ end }}", "{{ range .Vars.strs }}{{ with . }}{{ else }}{{ continue }}{{ end }}{{ . }}{{ end }}", "{{ range $k, $v := .Vars.env }}{{ if eq $v \"1\" }}{{ break }}{{ end }}{{ $k }}{{ end }}", "{{ $n := 0 }}{{ range .Vars.nums }}{{ $n = . }}{{ if eq . 1 }}{{ break }}{{ end }}{{ end }}{{ $n }}",
	"{{ range .Vars.strs }}{{- break -}} x {{ end }}", "{{ range .Vars.strs }}{{break}}{{end}}", "{{ with 1 }}{{ break }}{{ end }}",

	// with
	"{{ with .Vars.s }}{{ . }}{{ end }}", "{{ with .Vars.s }}{{ . }}{{ else }}none{{ end }}", "{{ with .Vars.empty }}x{{ else }}{{ $.Vars.n }}{{ .Vars.n }}{{ end }}", "{{ with .Vars.rec }}{{ .name }}{{ with .port }}{{ . }}{{ $.Vars.s }}{{ end }}{{ .on }}{{ end }}", "{{ with $x := .Vars.rec }}{{ $x.name }}{{ .port }}{{ end }}", "{{ with $x := .Vars.s }}{{ $x }}{{ else }}[{{ $x }}]{{ end }}",
	"{{ with $x := .Vars.s }}{{ end }}{{ $x }}", "{{ with }}x{{ end }}", "{{ with .Vars.rec }}{{ .Vars.s }}{{ end }}", "{{ with .Vars.s }}{{ .Vars.s }}{{ end }}", "{{ with $ }}{{ .Vars.s }}{{ end }}", "{{ with .Vars }}{{ .s }}{{ end }}", "{{ with .Traits.os }}{{ .family }}{{ end }}", "{{ with .Envoy }}{{ .environment }}{{ end }}", "{{ $x := $ }}{{ $x.Vars.s }}", "{{ with .Vars.recs }}{{ range . }}{{ .name }}{{ end }}{{ len . }}{{ end }}",
	"{{ with index .Vars.recs 0 }}{{ .name }}{{ end }}", "{{ with .Vars.n }}{{ . }}{{ else }}zero{{ end }}", "{{ with 0 }}a{{ else }}{{ with 1 }}{{ . }}{{ end }}{{ end }}", "{{ with 0 }}a{{ else if 1 }}b{{ end }}", "{{ with 0 }}a{{ else with 1 }}b{{ end }}", "{{ with .Vars.empty }}{{ $x := 1 }}{{ end }}{{ $x }}", "{{ $x := 1 }}{{ with .Vars.rec }}{{ $x = 2 }}{{ end }}{{ $x }}", "{{ with $x := 1 }}{{ $x = 2 }}{{ . }}{{ $x }}{{ end }}", "{{ with and .Vars.on .Vars.rec }}{{ . }}{{ end }}", "{{ with or .Vars.empty \"z\" }}{{ . }}{{ end }}",

	// what the language leaves out
	"{{ define \"x\" }}a{{ end }}", "{{ define \"x\" }}a{{ end }}{{ template \"x\" }}", "{{ template \"x\" }}", "{{ block \"x\" . }}a{{ end }}", "{{ .Vars.s.Method 1 }}", "{{ template }}", "{{ define }}", "{{ printf \"%c\" 'a' }}", "{{ range $i, $c := \"ab\" }}{{ end }}",
	"{{ index .Vars.counts \"x\" }}", "{{ index .Vars.counts \"nope\" }}", "{{ index .Vars.env \"nope\" }}", "{{ default \"d\" (index .Vars.env \"nope\") }}", "{{ index .Vars.env \"nope\" | default \"d\" }}", "{{ default 1 .Vars.zero }}{{ default true .Vars.off }}", "{{ .Vars.empty | default \"d\" }}", "{{ default \"d\" .Vars.none }}", "{{ default .Vars.s .Vars.empty | upper }}",
	"{{ index .Vars.recs 0 \"name\" }}", "{{ index .Vars.lists 0 1 }}", "{{ (index .Vars.lists 0) }}", "{{ slice .Vars.strs 1 2 }}", "{{ .Vars.strs }}{{ .Vars.rec }}{{ .Vars.mixed }}{{ .Vars.recs }}", "{{ print .Vars.n .Vars.n }}{{ print .Vars.s .Vars.s }}", "{{ println .Vars.s }}", "{{ toJson .Vars.rec }}{{ toJson .Vars.mixed }}", "{{ html .Vars.html }} {{ js .Vars.html }} {{ urlquery .Vars.html }}", "{{ .Vars.html }}",
	"{{ .Traits.os.family }} {{ .Traits.os.version }}", "{{ if eq .Traits.os.family \"debian\" }}deb{{ else }}rpm{{ end }}", "{{ if .Traits.virtual.inside }}v{{ end }}", "{{ range .Vars.strs }}{{ if $.Traits.virtual.inside }}{{ break }}{{ end }}{{ . }}{{ end }}", "{{ $x := .Vars.s }}{{ if .Traits.virtual.inside }}{{ $x = \"v\" }}{{ end }}{{ $x }}",
	"{{ range .Vars.strs }}{{ if eq $.Traits.os.family . }}{{ continue }}{{ end }}{{ . }},{{ end }}{{ .Traits.hardware.cpus }}", "{{ $n := 0 }}{{ range $i, $v := .Vars.strs }}{{ if gt $.Traits.hardware.cpus $i }}{{ $n = $i }}{{ else }}{{ break }}{{ end }}{{ end }}{{ $n }}",
	"server {\n  {{- range .Vars.recs }}\n  {{- if .on }}\n  listen {{ .port }}; # {{ .name }}\n  {{- end }}\n  {{- end }}\n}\n", "{{- /* head */ -}}\n[main]\n{{ range $k, $v := .Vars.env -}}\n{{ $k }} = {{ $v | quote }}\n{{ end -}}\n[end]\n", "a:\n{{- if .Vars.strs }}\n{{ range .Vars.strs }}  - {{ . }}\n{{ end }}{{ else }} []\n{{ end }}",
}
