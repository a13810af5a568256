package jinja

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// twice makes x a list that holds itself of before twice, n times: 2ⁿ elements of n lists.
func twice(n int) string {
	return fmt.Sprintf("{%% set ns = namespace(x=[1], y=[1]) %%}{%% for i in range(%d) %%}{%% set ns.x = [ns.x, ns.x] %%}{%% set ns.y = "+
		"[ns.y, ns.y] %%}{%% endfor %%}", n)
}

// text makes s a text of 2ⁿ bytes.
func text(n int) string {
	return fmt.Sprintf("{%% set ns = namespace(s='a') %%}{%% for i in range(%d) %%}{%% set ns.s = ns.s ~ ns.s %%}{%% endfor %%}", n)
}

// each does something 100,000 times.
func each(s string) string { return "{% for i in range(100000) %}" + s + "{% endfor %}" }

// deep does something 5,000 times.
func deep(s string) string { return "{% for i in range(5000) %}" + s + "{% endfor %}" }

// times100 does something 10¹⁰ times.
func times100(s string) string { return each(each(s)) }

// attacks are templates of a line or two that would take minutes, days or all memory. The value is the line at which they are stopped, 0
// where it is of no interest, -1 for those that end by themselves within their bounds.
var attacks = map[string]struct {
	source string
	line   int
}{
	// Lists that are shared.
	"equality":          {twice(60) + "\n{{ ns.x == ns.y }}", 2},
	"inequality":        {twice(60) + "\n{{ ns.x != ns.y }}", 2},
	"order":             {twice(60) + "\n{{ ns.x < ns.y }}", 2},
	"print":             {twice(60) + "\n{{ ns.x }}", 2},
	"print a namespace": {twice(60) + "\n{{ ns }}", 2},
	"string":            {twice(60) + "\n{{ ns.x | string | length }}", 2},
	"concatenation":     {twice(60) + "\n{{ 'a' ~ ns.x }}", 2},
	"tojson":            {twice(60) + "\n{{ ns.x | tojson }}", 2},
	"tojson, indented":  {twice(60) + "\n{{ ns.x | tojson(indent=4) }}", 2},
	"tojson of a dict": {"{% set ns = namespace(d={'a': 1}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% " +
		"endfor %}\n{{ ns.d | tojson }}", 2},
	"equality of dicts": {"{% set ns = namespace(d={}, e={}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% set " +
		"ns.e = {'a': ns.e, 'b': ns.e} %}{% endfor %}\n{{ ns.d == ns.e }}", 2},
	"sort":        {twice(60) + "\n{{ [ns.x, ns.y, ns.x, ns.y] | sort }}", 2},
	"max":         {twice(60) + "\n{{ [ns.x, ns.y] | max }}", 2},
	"in":          {twice(60) + "\n{{ ns.x in [ns.y] }}", 2},
	"the test in": {twice(60) + "\n{{ ns.x is in [ns.y] }}", 2},
	"the test eq": {twice(60) + "\n{{ [ns.x] | select('eq', ns.y) | list }}", 2},
	"sameas":      {twice(60) + "\n{{ ns.x is sameas ns.y }}", 2},
	"index":       {twice(60) + "\n{{ [ns.x].index(ns.y) }}", 2},
	"count":       {twice(60) + "\n{{ [ns.x].count(ns.y) }}", 2},
	"unique":      {twice(60) + "\n{{ [ns.x, ns.y] | unique | list }}", 2},
	"groupby": {"{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = " +
		"[ns.y, ns.y] %}{% endfor %}\n{{ [{'k': ns.x}, {'k': ns.y}] | groupby('k') }}", 2},
	"dictsort":           {twice(60) + "\n{{ {'a': ns.x, 'b': ns.y} | dictsort(by='value') }}", 2},
	"join":               {twice(60) + "\n{{ [ns.x, ns.y] | join(',') }}", 2},
	"hash":               {twice(60) + "\n{{ {'a': 1}[(ns.x,)] }}", 2},
	"get":                {twice(60) + "\n{{ {'a': 1}.get((ns.x,)) }}", 2},
	"in a dict":          {twice(60) + "\n{{ (ns.x,) in {'a': 1} }}", 2},
	"dict":               {twice(60) + "\n{{ dict([(ns.x, 1)]) }}", 2},
	"replace by a list":  {twice(60) + "\n{{ 'a' | replace('a', ns.x) }}", 2},
	"percent":            {twice(60) + "\n{{ '%s' % (ns.x,) }}", 2},
	"percent r":          {twice(60) + "\n{{ '%r' % (ns.x,) }}", 2},
	"format":             {twice(60) + "\n{{ '{}'.format(ns.x) }}", 2},
	"the filter format":  {twice(60) + "\n{{ '%s' | format(ns.x) }}", 2},
	"raise_exception":    {twice(60) + "\n{{ raise_exception(ns.x) }}", 2},
	"loop.changed":       {twice(60) + "\n{% for i in [1, 2] %}{{ loop.changed(ns.x if i == 1 else ns.y) }}{% endfor %}", 2},
	"an unknown element": {twice(60) + "\n{{ {}[ns.x] is defined }}", 2},
	"sum":                {"{{ ([[1] * 100000] * 100000) | sum(start=[]) }}", 1},
	"an upper case":      {twice(60) + "\n{{ ns.x is upper }}", 2},
	"wordcount":          {twice(60) + "\n{{ ns.x | wordcount }}", 2},
	"indent a list":      {twice(60) + "\n{{ ns.x | indent }}", 2},
	"truncate":           {twice(60) + "\n{{ ns.x | truncate(10) }}", 2},
	"center a list":      {twice(60) + "\n{{ ns.x | center }}", 2},
	"joiner":             {twice(60) + "\n{{ joiner(ns.x)() }}", 2},
	"a filter block":     {twice(60) + "\n{% filter replace('a', ns.x) %}a{% endfilter %}", 2},
	"deep, then printed": {"{% set ns = namespace(x=[]) %}" + deep("{% set ns.x = [ns.x] %}") + "\n{{ ns.x }}", 2},
	"deep, then compared": {"{% set ns = namespace(x=[], y=[]) %}" + deep("{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}") +
		"\n{{ ns.x == ns.y }}", 2},
	"deep, then to JSON":   {"{% set ns = namespace(x=[]) %}" + deep("{% set ns.x = [ns.x] %}") + "\n{{ ns.x | tojson }}", 2},
	"deep tuples as a key": {"{% set ns = namespace(x=()) %}" + deep("{% set ns.x = (ns.x,) %}") + "\n{{ {}.get(ns.x) }}", 2},

	// Values that hold themselves.
	"a namespace in itself": {"{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", -1},
	"a list in itself":      {"{% set ns = namespace() %}{% set ns.l = [ns, ns] %}{{ ns.l }}", -1},
	"a cycle of many": {"{% set a = namespace() %}{% set b = namespace(a=a, b=a) %}{% set a.x = [b, b, b] %}{% set a.y = (a, " +
		"b, a.x) %}{{ a }}{{ b }}", -1},
	"cycles compared": {"{% set a = namespace() %}{% set a.x = [a] %}{% set b = namespace() %}{% set b.x = [b] %}{{ a.x == b.x }}", -1},
	"namespaces in each other": {"{% set ns = namespace(l=[]) %}{% for i in range(40) %}{% set n = namespace(a=ns.l, b=ns.l) %}{% set " +
		"ns.l = [n, n] %}{% endfor %}\n{{ ns.l }}", 2},
	"a cycle as a key":          {"{% set a = namespace() %}{% set a.x = (a,) %}{{ {}.get(a.x) }}", -1},
	"a cycle to JSON":           {"{% set a = namespace() %}{% set a.x = [a] %}\n{{ a.x | tojson }}", 2},
	"a cycle sorted":            {"{% set a = namespace() %}{% set a.x = [a] %}\n{{ [a.x, a.x] | sort }}", -1},
	"a cycler in itself":        {"{% set a = namespace() %}{% set c = cycler(a) %}{% set a.c = c %}{{ c }}", -1},
	"a list appended to itself": {"{% set l = [] %}\n{{ l.append(l) }}", 2},
	"a dict updated by itself":  {"{% set d = {} %}\n{{ d.update({'d': d}) }}", 2},

	// Numbers and sizes.
	"10**10**10":           {"\n{{ 10**10**10 }}", 2},
	"(-1)**huge":           {"{{ (-1)**9223372036854775807 }}", -1},
	"a text repeated":      {"\n{{ 'a' * 10**9 }}", 2},
	"a list repeated":      {"\n{{ [1] * 10**9 }}", 2},
	"nothing repeated":     {times100("{{ [] * 2147483647 }}"), 0},
	"a huge range":         {"\n{{ range(10**12) }}", 2},
	"a range at the end":   {"\n{{ range(9223372036854775806, 9223372036854775807, 9223372036854775807) | list }}", -1},
	"a range below":        {"\n{{ range(-9223372036854775807, 9223372036854775807) }}", 2},
	"round":                {"{{ 1.5 | round(1000000000) }}", -1},
	"round down":           {"{{ 1.5 | round(-1000000000, 'floor') }}", -1},
	"center":               {"\n{{ 'a'.center(2000000000) }}", 2},
	"ljust by an overflow": {"\n{{ 'a'.ljust(4611686018427387904, 'abcd') }}", 2},
	"zfill":                {"\n{{ '1'.zfill(9223372036854775807) }}", 2},
	"a wide field":         {"\n{{ '%999999999d' % 1 }}", 2},
	"a precise field":      {"\n{{ '%.999999999f' % 1.5 }}", 2},
	"many flags":           {"\n{{ ('%' ~ '-' * 1000000 ~ 'd') % 1 }}", 2},
	"batches filled":       {"\n{{ [1] | batch(10**15, 0) | list }}", 2},
	"slices":               {times100("{% set x = [1] | slice(100000) %}"), 0},
	"an indent":            {text(20) + "\n{{ ns.s.replace('a', '\\n') | indent(60000, true, true) }}", 2},
	"an indent of a text":  {text(14) + "\n{{ ns.s.replace('a', '\\n') | indent(ns.s, true, true) }}", 2},
	"a JSON indent":        {text(20) + "\n{{ ([[[[1] * 100] * 100]] | tojson(indent=ns.s)) }}", 2},
	"JSON separators":      {text(20) + "\n{{ [1] * 10000 | tojson(separators=(ns.s, ns.s)) }}", 0},
	"splitting":            {text(22) + times100("{% set x = ns.s.split('a') %}"), 0},
	"a list of a text":     {text(22) + times100("{% set x = ns.s | list %}"), 0},
	"unpacking":            {text(22) + "\n{% set a, b = ns.s %}", 2},
	"strftime":             {text(24) + "\n{{ strftime_now(ns.s.replace('a', '%c')) }}", 2},
	"an attribute's name":  {text(22) + times100("{{ {}[ns.s] is defined }}"), 0},
	"the parts of a name":  {text(22) + times100("{{ [1] | map(attribute=ns.s.replace('a', '.')) | list }}"), 0},
	"star":                 {"{% macro m() %}{{ varargs | length }}{% endmacro %}" + times100("{{ m(*range(100000)) }}"), 0},
	"two stars": {"{% set ns = namespace(d={}) %}{% macro m() %}{{ kwargs | length }}{% endmacro %}" +
		times100("{{ m(**dict(range(1000) | map('string') | map('list') | list)) }}"), 0},

	// Texts, looked at again and again.
	"equal texts":   {text(22) + "{% set a = ns.s ~ 'b' %}{% set b = ns.s ~ 'b' %}" + times100("{{ a == b }}"), 0},
	"ordered texts": {text(22) + "{% set a = ns.s ~ 'b' %}{% set b = ns.s ~ 'b' %}" + times100("{{ a < b }}"), 0},
	"in a text":     {text(22) + times100("{{ 'b' in ns.s }}"), 0},
	"a long one in a text": {"{% set a = 'ab              ' * 400000 %}{% set b = 'ab              ' * 200000 ~ 'ax' %}" +
		times100("{{ b in a }}"), 0},
	"a long one not there": {text(22) + "{% set b = ns.s[:2000000] ~ 'b' %}" +
		times100("{{ ns.s.find(b) }}{{ ns.s.rfind(b) }}{{ ns.s.count(b) }}"), 0},
	"a long one replaced":    {text(22) + "{% set b = ns.s[:2000000] ~ 'b' %}" + times100("{% set x = ns.s.replace(b, 'c') %}"), 0},
	"replace":                {"\n{{ ('a' * 100000) | replace('a', 'b' * 100000) }}", 2},
	"replace nothing":        {"\n{{ ('a' * 1000000).replace('', 'b' * 1000) }}", 2},
	"replace by nothing":     {text(22) + times100("{% set x = ns.s.replace('b', 'c') %}"), 0},
	"length":                 {text(22) + times100("{{ ns.s | length }}"), 0},
	"an element":             {text(22) + times100("{{ ns.s[2000000] }}"), 0},
	"the last element":       {text(22) + times100("{{ ns.s[-2000000] }}"), 0},
	"slicing":                {text(22) + times100("{{ ns.s[1:2] }}"), 0},
	"slicing by steps":       {text(22) + times100("{{ ns.s[::-1000000] }}"), 0},
	"slicing lists":          {"{% set l = range(100000) %}" + times100("{% set x = l[1:] %}"), 0},
	"strip":                  {text(22) + times100("{% set x = (ns.s ~ 'b').strip('a') %}"), 0},
	"strip by many":          {text(22) + "{% set x = ns.s.strip('b' * 4000000 ~ 'a') %}" + times100("{% set x = ns.s.lstrip(ns.s) %}"), 0},
	"upper":                  {text(22) + times100("{% set x = ns.s.upper() %}"), 0},
	"isalpha":                {text(22) + times100("{{ ns.s.isalpha() }}"), 0},
	"isupper":                {text(22) + times100("{{ ns.s.isupper() }}"), 0},
	"startswith":             {text(22) + "{% set b = ns.s[:3000000] ~ 'b' %}" + times100("{{ ns.s.startswith((b, b, b, b)) }}"), 0},
	"endswith":               {text(22) + times100("{{ ns.s.endswith(ns.s, 1) }}"), 0},
	"splitlines":             {text(22) + times100("{% set x = ns.s.splitlines() %}"), 0},
	"partition":              {text(22) + times100("{% set x = ns.s.rpartition('b') %}"), 0},
	"words":                  {text(22) + times100("{{ ns.s | wordcount }}"), 0},
	"words split":            {text(22) + times100("{% set x = ns.s.split() %}"), 0},
	"title":                  {text(22) + times100("{% set x = ns.s | title %}"), 0},
	"escape":                 {text(22) + times100("{% set x = ns.s | e %}"), 0},
	"urlencode":              {text(22) + times100("{% set x = ns.s | urlencode %}"), 0},
	"int":                    {"{% set s = '1' * 4000000 %}" + times100("{{ s | int }}{{ s | float }}"), 0},
	"JSON of a text":         {text(22) + times100("{% set x = ns.s | tojson %}"), 0},
	"a key":                  {text(22) + "{% set d = {ns.s: 1} %}" + times100("{{ d[ns.s] }}"), 0},
	"percent of a long text": {text(22) + times100("{% set x = ns.s % () %}"), 0},
	"sorted ignoring case":   {text(16) + times100("{% set x = [ns.s, ns.s ~ 'b', ns.s ~ 'c'] | sort %}"), 0},
	"minimum":                {"{% set l = range(100000) %}" + times100("{{ l | min }}"), 0},
	"in a list":              {"{% set l = range(100000) %}" + times100("{{ -1 in l }}"), 0},
	"reverse":                {"{% set l = range(100000) %}" + times100("{% set x = l | reverse %}"), 0},
	"sort a list":            {"{% set l = range(100000) %}" + times100("{% set x = l | sort(reverse=true) %}"), 0},
	"methods kept": {"{% set l = ['a'] * 100000 %}{% set ns = namespace(l=[]) %}" +
		times100("{% set ns.l = [ns.l, l | map(attribute='upper') | list] %}"), 0},

	// Loops and calls.
	"loops in loops":   {times100(""), 1},
	"loops of nothing": {"{% for a in range(100000) %}{% for b in range(100000) %}{% if false %}{% endif %}{% endfor %}{% endfor %}", 1},
	"a filtered loop":  {times100("{% for x in range(100000) if false %}{% endfor %}"), 0},
	"macros":           {"{% macro a(n) %}{% for i in range(10) %}{{ a(n + 1) }}{% endfor %}{% endmacro %}\n{{ a(0) }}", 0},
	"a tree of macros": {"{% macro a(n) %}{% if n < 60 %}{{ a(n + 1) }}{{ a(n + 1) }}{% endif %}{% endmacro %}\n{{ a(0) }}", 0},
	"macros by caller": {"{% macro a() %}{{ caller() }}{{ caller() }}{% endmacro %}" + strings.Repeat("{% call a() %}", 60) + "x" +
		strings.Repeat("{% endcall %}", 60), 1},
	"a recursive loop": {"{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}", 1},
	"loops and macros": {"{% macro m() %}{% for x in [1] recursive %}{{ loop([1]) }}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}", 1},
	"nested and repeated": {"{% macro m() %}" + strings.Repeat("{% if true %}", 150) +
		"{% for x in [1] recursive %}{{ m() }}{{ loop([1]) }}{% endfor %}" + strings.Repeat("{% endif %}", 150) + "{% endmacro %}{{ m() }}",
		1},
	"spans":             {times100("{% generation %}{% endgeneration %}"), 0},
	"output":            {"{% set x = 'a' * 1000000 %}\n" + each("{{ x }}"), 2},
	"captured output":   {"{% set x = 'a' * 1000000 %}" + each("{% set y %}{{ x }}{{ x }}{% endset %}"), 1},
	"doubling":          {text(60), 1},
	"doubling lists":    {"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", 1},
	"a dict that grows": {"{% set ns = namespace(d={}) %}" + times100("{% set ns.d = dict(ns.d, **{'k' ~ loop.index: 1}) %}"), 0},

	// Sources.
	"a long sum":          {"{{ 1" + strings.Repeat("+1", 100_000) + " }}", 1},
	"a long or":           {"{{ 0" + strings.Repeat(" or 0", 40_000) + " }}", 1},
	"many filters":        {"{{ 1" + strings.Repeat("|abs", 60_000) + " }}", 1},
	"many dots":           {"{{ messages" + strings.Repeat(".a", 100_000) + " }}", 1},
	"many calls":          {"{{ messages" + strings.Repeat("()", 100_000) + " }}", 1},
	"a dotted filter":     {"{{ 1|a" + strings.Repeat(".a", 100_000) + " }}", 1},
	"texts in a row":      {"{{ " + strings.Repeat("'a' ", 60_000) + "| length }}", -1},
	"brackets":            {"{{ " + strings.Repeat("(", 100_000) + " }}", 1},
	"lists in lists":      {"{{ " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + " }}", 1},
	"nots":                {"{{ " + strings.Repeat("not ", 50_000) + "1 }}", 1},
	"minuses":             {"{{ " + strings.Repeat("-", 100_000) + "1 }}", 1},
	"ifs in ifs":          {strings.Repeat("{% if 1 %}", 20_000), 1},
	"conditions":          {"{{ " + strings.Repeat("1 if 0 else ", 15_000) + "1 }}", 1},
	"conditions, flat":    {"{{ 1" + strings.Repeat(" if 1", 30_000) + " }}", 1},
	"targets":             {"{% for " + strings.Repeat("(", 100_000) + "a in b %}", 1},
	"a list in a loop":    {each("{% set x = [" + strings.Repeat("1,", 50_000) + "1] %}"), 1},
	"an and in a loop":    {each("{{ 1" + strings.Repeat(" and 1", 5_000) + " }}"), 1},
	"too long":            {strings.Repeat("{{ 1 }}", 100_000), 0},
	"an endless comment":  {strings.Repeat("{#", 100_000), 1},
	"many raws":           {strings.Repeat("{% raw %}", 20_000), 1},
	"white space":         {strings.Repeat("{%"+strings.Repeat(" ", 1000), 200), 1},
	"quotes":              {strings.Repeat(`{{ "`, 60_000), 1},
	"a number of digits":  {"{{ " + strings.Repeat("9", 200_000) + " }}", 1},
	"a name of letters":   {"\n{{ " + strings.Repeat("a", 200_000) + ".b }}", 2},
	"macros in macros":    {strings.Repeat("{% macro m() %}", 10_000), 1},
	"elifs":               {times100("{% if 0 %}" + strings.Repeat("{% elif 0 %}", 10_000) + "{% endif %}"), 0},
	"a macro of many":     {"{% macro m(" + strings.Repeat("a,", 50_000) + "b) %}{% endmacro %}" + times100("{{ m() }}"), 0},
	"an unpacked address": {"{% set " + strings.Repeat("a,", 50_000) + "b = messages %}", 1},
}

// TestAttacks: every template ends, by an error that names it and its line or by itself, within the steps, and makes no more than a few
// times the memory, that the limits allow.
func TestAttacks(t *testing.T) {
	if len(attacks) < 40 {
		t.Fatal(len(attacks))
	}
	const steps = 1_500_000 // of the 10 million of Limits, to be done sooner
	vars := NewDict()
	m := NewDict()
	m.Set("role", "user")
	m.Set("content", "x")
	vars.Set("messages", &List{Items: []any{m}})
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			var out *Result
			tm, err := ParseNamed("bad.jinja", a.source)
			if err == nil {
				out, err = tm.Run(vars, Options{Limits: Limits{Steps: steps}})
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			made := after.TotalAlloc - before.TotalAlloc
			var e *Error
			switch {
			case a.line < 0 && err != nil:
				t.Errorf("%.300v", err)
			case a.line < 0:
			case !errors.As(err, &e):
				t.Errorf("no error but %.100v", out)
			case !strings.Contains(err.Error(), "bad.jinja") || len(err.Error()) > maxMessage+200 || strings.Contains(err.Error(), "\n"):
				t.Errorf("the error is %.300v", err)
			case a.line > 0 && e.Line != a.line:
				t.Errorf("line %d, want %d: %.300v", e.Line, a.line, err)
			}
			if out != nil && out.Steps > steps {
				t.Errorf("%d steps", out.Steps)
			}
			if made > 1<<30 {
				t.Errorf("%d MiB were allocated", made>>20)
			}
			if took > 30*time.Second { // of about one: a loaded machine is not an error
				t.Errorf("it took %v", took)
			}
			if testing.Verbose() {
				t.Logf("%v, %d MiB: %.150v", took.Round(time.Millisecond), made>>20, err)
			}
		})
	}
}
