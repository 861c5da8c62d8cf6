package main

import "math"

var floats = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.1, 0.5, 2.5, 1.5, 0.25, 100000, 1e6, 123456789, 1234567, 1e20, 1e21, 1.5e300,
	5e-324, math.MaxFloat64, 1e-4, 0.00001, 1e-6, 1e-7, 3.14159265358979, -2.718281828, 2.0 / 3, 1e15, 9007199254740993,
}
var floatFormats = []string{
	"%v", "%g", "%e", "%f", "%E", "%G", "%F", "%.0f", "%.1f", "%.3f", "%.3e", "%.0e", "%.3g", "%.0g", "%.10g", "%10.2f",
	"%-10.2f|", "%+.2f", "% .2f", "%010.2f", "%+010.2f", "% 010.2f", "%#g", "%#.3g", "%#f", "%#.0f", "%#.0e", "%#v", "%+v",
	"%x", "%X", "%.3x", "%.0x", "%b", "%20.5x|", "%d", "%s", "%t", "%q", "%c", "%.20f", "%.40e", "%T", "%#x",
}
var ints = []any{0, 1, -1, 7, 42, -42, 255, 1024, 65, 0x4e16, 0x1f600, 0x301, 0x10ffff, 0x110000, 0xd800, math.MaxInt64, math.MinInt64}
var intFormats = []string{
	"%v", "%d", "%5d|", "%-5d|", "%05d", "%+d", "% d", "%+05d", "%.3d", "%8.3d|", "%08.3d|", "%.0d|", "%5.0d|", "%-5.0d|",
	"%x", "%X", "%#x", "%#X", "%08x", "%#08x", "%o", "%#o", "%O", "%#O", "%b", "%#b", "%c", "%5c|", "%q", "%+q", "%#q", "%U", "%#U",
	"%10U|", "%010U|", "%.6U", "%#10U|", "%#v", "%+v", "%T", "%s", "%f", "%t", "%e", "%20d|", "%-020d|", "% x", "%5q|", "%05c|",
}
var texts = []string{
	"", "a", "héllo wörld", "日本語", "<a href=\"x\">'&'</a>", "a b&c=d/e?f+g~h", "  trim me\t\n", "\x00\x01\a\b\f\n\r\t\v\x7f\x1b",
	"tab\tand \"quotes\" and `ticks`", "back\\slash", "\u00a0\u0085\u2028\u2029\u200b\ufeff", "😀 e\u0301 \u0301", "ßŒÿIıİσςΣ", "ᾀᾳᾼ ǆǅǄ",
	"multi\nline\n", "100%", "{{ x }}", "a=b;c", "\U000e0001\u00ad\ufffd",
}
var textFormats = []string{
	"%v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "%# x", "% X", "%.2s|", "%8s|", "%-8s|", "%08s|", "%8.2s|", "%.2q", "%12q|",
	"%.3x", "%10x|", "%-10x|", "%.0x|", "%#v", "%+v", "%T", "%d", "%t", "%f", "%c", "%U", "%.100s|", "%5x|",
}
var operands = []any{nil, true, false, 0, -3, 0.0, 2.5, "", "a", l{}, l{1, "x"}, m{"k": nil}}

var nested = m{"b": l{1, "two", 3.5, nil, l{}, m{"z": true, "a": nil}}, "a": m{}, "é": "ü", "A": -1}

var table = []l{
	{"emit", nil}, {"emit", true}, {"emit", nested}, {"emit", l{nil}}, {"emit", l{l{}, m{}, ""}}, {"emit", m{"a": 1, "b": 2}}, {"emit", l{"a", "b"}},
	{"print"}, {"print", nil}, {"print", "a", "b"}, {"print", 1, 2}, {"print", 1, "a", 2, 3, "b"}, {"print", nil, nil}, {"print", nil, "a", nil},
	{"print", l{1}, m{"a": 1}}, {"print", true, false}, {"print", nested, 1.5},
	{"println"}, {"println", nil}, {"println", "a", "b", 1}, {"println", "", ""},
	{"html", nil}, {"html", nil, nil}, {"html", 1, 2}, {"html", "<", 1, ">"}, {"html", l{"<"}}, {"html"},
	{"js", nil}, {"js", 1, 2}, {"js", m{"a": "'"}}, {"urlquery", nil}, {"urlquery", 1, 2, "x y"}, {"urlquery", l{1, 2}}, {"urlquery"},
	{"eq", 1, 2, 3, 1}, {"eq", "a", "b", "a"}, {"eq", 1}, {"eq", "a", 1, "a"}, {"eq", "a", "a", 1}, {"eq", nil, 1, nil}, {"ne", 1, 2, 3}, {"ne", 1},
	{"lt", "a", "b", "c"}, {"lt", 1}, {"lt", "B", "a"}, {"lt", "é", "z"}, {"lt", math.MinInt64, math.MaxInt64},
	{"and", 1}, {"and", 1, 2, 3}, {"and", 1, 0, 3}, {"and", "", "x"}, {"and", nil, 1}, {"or", 0}, {"or", 0, "", "x", "y"}, {"or", nil, false}, {"or", l{}, m{}},
	{"not", nil}, {"not", 0}, {"not", 1}, {"not", l{}}, {"not", m{"a": 1}}, {"not", 0.0}, {"not", 1, 2}, {"not"},
	{"len", nil}, {"len", 3}, {"len", l{1, 2}}, {"len", m{"a": 1}}, {"len", l{}}, {"len", "日本"}, {"len", true}, {"len"},
	{"index", l{1, 2, 3}, 0}, {"index", l{1, 2, 3}, 2}, {"index", l{1, 2, 3}, 3}, {"index", l{1}, -1}, {"index", l{1}, "0"}, {"index", l{1}},
	{"index", m{"a": m{"b": l{7, 8}}}, "a", "b", 1}, {"index", m{"a": 1}, "a"}, {"index", m{"a": 1}, "b"}, {"index", m{"a": nil}, "a"},
	{"index", m{"a": 1}, 1}, {"index", "abc", 1}, {"index", "abc", 3}, {"index", "abc", 1, 0}, {"index", nil, 1}, {"index", 3, 1}, {"index", l{nil}, 0, 1},
	{"index", l{l{1, 2}, "xy"}, 1, 0}, {"index", l{1}, nil}, {"index", l{1}, 0.0},
	{"slice", "abcdef"}, {"slice", "abcdef", 2}, {"slice", "abcdef", 2, 4}, {"slice", "abcdef", 2, 4, 5}, {"slice", "abcdef", 4, 2}, {"slice", "abc", 4},
	{"slice", "abc", 3}, {"slice", "abc", -1}, {"slice", l{1, 2, 3}, 1}, {"slice", l{1, 2, 3}, 0, 2}, {"slice", l{1, 2, 3}, 0, 1, 2}, {"slice", l{1, 2, 3}, 2, 1},
	{"slice", l{1, 2, 3}, 0, 2, 1}, {"slice", l{1, 2, 3}, 4}, {"slice", nil}, {"slice", 3}, {"slice", m{}}, {"slice", "é", 0, 2}, {"slice", "abc", "1"},
	{"slice", l{1, 2, 3}, 0, 1, 2, 3},
	{"join", ",", l{"a", "b"}}, {"join", ", ", l{1, nil, 2.5, true, l{1}, m{"a": 1}}}, {"join", "", l{}}, {"join", ",", "x"}, {"join", ",", nil}, {"join", ",", 3},
	{"join", 1, l{}}, {"join", ","},
	{"split", ",", "a,b,,c"}, {"split", "", "aé日"}, {"split", ",", ""}, {"split", "ab", "xabyab"}, {"split", ",", 3}, {"split", ","},
	{"upper", 1}, {"lower", nil}, {"trim", l{}}, {"trim", "\u00a0\u2003x\u3000\u200b"},
	{"replace", "a", "b", "banana"}, {"replace", "", "-", "aé"}, {"replace", "x", "", "xax"}, {"replace", "aa", "a", "aaaa"}, {"replace", "", "-", ""}, {"replace", "a", "b"},
	{"replace", "a", 1, "a"},
	{"quote"}, {"quote", nil}, {"quote", 1, nil, "a b"}, {"quote", l{"a"}}, {"quote", 1.5, true}, {"squote", "it's", 1}, {"squote", nil, nil}, {"squote", l{1, nil}},
	{"indent", 2, "a\nb\n\nc"}, {"indent", 0, "a\nb"}, {"indent", 4, ""}, {"indent", -1, "a"}, {"indent", "2", "a"}, {"nindent", 2, "a\nb\n"}, {"nindent", 0, ""},
	{"toJson", nil}, {"toJson", true}, {"toJson", nested}, {"toJson", l{}}, {"toJson", m{}}, {"toJson", l{nil, "<&>", l{l{}}}}, {"toJson", m{"<k>": "\u2028\u2029\x01"}},
	{"toJson"}, {"sha256", 1}, {"base64", nil}, {"base64", "ab"}, {"base64", "abcd"},
	{"printf"}, {"printf", ""}, {"printf", 3}, {"printf", "plain"}, {"printf", "100%%"}, {"printf", "%"}, {"printf", "%5"}, {"printf", "%z", 1}, {"printf", "%d"}, {"printf", "a", 1},
	{"printf", "%d %d", 1}, {"printf", "%d", 1, 2}, {"printf", "%!", 1}, {"printf", "%5%|"}, {"printf", "%-%|"},
	{"printf", "%s=%d", "a", 1}, {"printf", "%[2]d %[1]d", 1, 2}, {"printf", "%[1]d %[1]x", 10}, {"printf", "%[3]d", 1, 2}, {"printf", "%[0]d", 1}, {"printf", "%[x]d", 1},
	{"printf", "%[1", 1}, {"printf", "%[2]*[1]d|", 7, 5}, {"printf", "%[1]5d|", 7}, {"printf", "%5[1]d|", 7}, {"printf", "%[1].3f", 1.5}, {"printf", "%.[1]3f", 1.5},
	{"printf", "%*d|", 5, 7}, {"printf", "%-*d|", 5, 7}, {"printf", "%*d|", -5, 7}, {"printf", "%0*d|", -5, 7}, {"printf", "%*d|", "x", 7}, {"printf", "%*d", 5}, {"printf", "%*d|", 2000000, 7},
	{"printf", "%.*f|", 2, 3.14159}, {"printf", "%.*f|", -2, 3.14159}, {"printf", "%*.*f|", 8, 2, 3.14159}, {"printf", "%.f", 2.5}, {"printf", "%.", 2.5}, {"printf", "%99999999d", 1},
	{"printf", "%v", nil}, {"printf", "%5v|", nil}, {"printf", "%d", nil}, {"printf", "%s", nil}, {"printf", "%T", nil}, {"printf", "%#v", nil}, {"printf", "%+v", nil},
	{"printf", "%v %t", true, false}, {"printf", "%7t|", true}, {"printf", "%-7t|", true}, {"printf", "%d", true}, {"printf", "%s", true}, {"printf", "%07t|", true}, {"printf", "%T", true},
	{"printf", "%v", nested}, {"printf", "%+v", nested}, {"printf", "%#v", nested}, {"printf", "%T", nested}, {"printf", "%v|%v", l{}, m{}}, {"printf", "%#v|%#v", l{}, m{}},
	{"printf", "%d", l{1, 2, 3}}, {"printf", "%3d|", l{1, nil, 3}}, {"printf", "%d", l{1, "a"}}, {"printf", "%s", l{"a", nil, "b"}}, {"printf", "%q", l{"a", 65}}, {"printf", "%x", l{"az", 255}},
	{"printf", "%X", m{"k": "v"}}, {"printf", "%5v|", m{"k": 1}}, {"printf", "%-5v|", l{"a", true}}, {"printf", "%d", m{"k": 1}}, {"printf", "%T", l{}}, {"printf", "%q", m{"k": "v"}},
	{"printf", "%w", 1}, {"printf", "%w", l{}}, {"printf", "%é", 1}, {"printf", "é%dü", 1}, {"printf", "%+ d|% +d", 1, 1}, {"printf", "%6.2f%%", 12.345}, {"printf", "%v", 1e6}, {"printf", "%6T|", 1},
	{"printf", "%.3T|", 1}, {"printf", "%s %v %d", "a", l{1}, 3}, {"printf", "%#v %#v %#v", "a\"b", 1.0, true}, {"printf", "%t", 1}, {"printf", "%08.3f|%+08.3f|%-8.3f|", -1.5, 1.5, 1.5},
}
