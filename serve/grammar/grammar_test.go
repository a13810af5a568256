package grammar

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func accepts1(g *Grammar, text string) bool {
	s := g.Start()
	for i := range len(text) {
		if s = s.Feed(text[i]); s.Dead() {
			return false
		}
	}
	return s.Done()
}

// cases are schemas with texts that they allow here and texts that they do not.
var cases = []struct {
	schema   string
	yes, not []string
}{
	{`{"type":"integer"}`, []string{"0", "-7", "120"}, []string{"", "01", "1.5", "1e3", "-", "a", "1 ", `"1"`}},
	{`{"type":"integer","minimum":0,"maximum":150}`, []string{"0", "7", "99", "150"}, []string{"-1", "151", "1500", "00", "-0", "1.5"}},
	{`{"type":"integer","exclusiveMinimum":-12.5,"exclusiveMaximum":-3}`, []string{"-12", "-4", "-10"}, []string{"-13", "-3", "4", "0", "-", "-120"}},
	{`{"type":"array","items":{"type":"integer","minimum":98},"minItems":2}`, []string{"[98,1234567]"}, []string{"[97,98]", "[9,98]"}},
	{`{"type":"number"}`, []string{"0", "-7.25", "1e5", "2E-10", "0.5"}, []string{"1.", ".5", "1e", "+1", "00", "1e999"}},
	{`{"type":"string"}`, []string{`""`, `"a"`, `"ä€😀"`, `"\n\u00e4\ud7ff"`}, []string{`"`, `"\x"`, "\"\n\"", "\"\xff\"", "\"\xc0\x80\"",
		"\"\xed\xa0\x80\"", `"\ud800"`, `"\u12"`, `a`}},
	{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"ä\n€"`}, []string{`"a"`, `"abcd"`, `""`}},
	{`{"type":"boolean"}`, []string{"true", "false"}, []string{"True", "null", "tru"}},
	{`{"type":["string","null"]}`, []string{`"x"`, "null"}, []string{"1"}},
	{`{"enum":["a",1,{"b":[1, 2]},null]}`, []string{`"a"`, "1", `{"b":[1,2]}`, "null"}, []string{`"b"`, "2"}},
	{`{"const":"a\"b"}`, []string{`"a\"b"`}, []string{`"a"`}},
	{`{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}`, []string{"[1]", "[1,2]", "[1, 2, 3]"},
		[]string{"[]", "[1,2,3,4]", "[1,]", "[,1]", `["a"]`, "[1,  2]", "[1 ,2]"}},
	{`{"type":"array","items":{"type":"integer"},"minItems":2}`, []string{"[1,2]", "[1,2,3,4,5]"}, []string{"[]", "[1]"}},
	{`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"],` +
		`"additionalProperties":false}`,
		[]string{`{"a":1,"b":"x"}`, `{"b":"x"}`, `{"b": "x", "c": null}`, `{"a":1,"b":"","c":null}`},
		[]string{`{}`, `{"a":1}`, `{"b":1}`, `{"b":"x","a":1}`, `{"b":"x","d":1}`, `{"b":"x",}`, `{,"b":"x"}`, `{"b":"x","b":"x"}`}},
	{`{"type":"object","additionalProperties":{"type":"integer"}}`, []string{`{}`, `{"x":1}`, `{"x":1, "y":2}`}, []string{`{"x":"a"}`, `{"x"}`}},
	{`{"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},` +
		`"required":["v","next"]}},"$ref":"#/$defs/n"}`,
		[]string{`{"v":1,"next":null}`, `{"v":1,"next":{"v":2,"next":null}}`}, []string{`{"v":1}`, `{"v":1,"next":{}}`}},
	{`true`, []string{`{}`, `[[],{"a":[1,"x",null]}]`, `1`}, []string{``, `{]`, `[1,,2]`}},
}

func TestGrammar(t *testing.T) {
	for _, c := range cases {
		g, err := Schema([]byte(c.schema))
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		for _, y := range c.yes {
			if !accepts1(g, y) {
				t.Errorf("%s refuses %s", c.schema, y)
			}
		}
		for _, n := range c.not {
			if accepts1(g, n) {
				t.Errorf("%s allows %s", c.schema, n)
			}
		}
	}
	if g := Object(); !accepts1(g, `{"a":[{"b":1}]}`) || accepts1(g, `[]`) || accepts1(g, `1`) {
		t.Error("any object is not any object")
	}
	g := Calls([]string{"f", "g"}, []*Grammar{Object(), {literal("1")}})
	if !accepts1(g, `{"name":"f","arguments":{"x":2}}`) || !accepts1(g, `{"name": "g", "arguments": 1}`) || accepts1(g, `{"name":"g","arguments":{}}`) {
		t.Error("calls are not those of the functions")
	}
}

// TestSchemaRefuses: what cannot be held is refused, by name.
func TestSchemaRefuses(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"string","pattern":"a+"}`:              "pattern",
		`{"type":"number","minimum":3}`:                 "minimum",
		`{"minimum":3}`:                                 "minimum",
		`{"type":"integer","minimum":3,"maximum":2.5}`:  "between",
		`{"type":"integer","minimum":"a"}`:              "minimum",
		`{"type":"thing"}`:                              "thing",
		`{"$ref":"#"}`:                                  "ends",
		`{"$ref":"http://x/y"}`:                         "point",
		`{"$ref":"#/$defs/a"}`:                          "nothing",
		`{"type":"object","required":["a"]}`:            "required",
		`{"enum":[]}`:                                   "enum",
		`7`:                                             "object",
		`{"type":"string","minLength":3,"maxLength":1}`: "larger",
		`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`: "ends",
		`{"allOf":[{"type":"string"},{"type":"null"}]}`:                      "allOf",
	} {
		if _, err := Schema([]byte(schema)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", schema, err)
		}
	}
	deep := strings.Repeat(`{"type":"array","items":`, 100) + `{}` + strings.Repeat(`}`, 100)
	if _, err := Schema([]byte(deep)); err == nil {
		t.Error("a schema of a depth of 100 is compiled")
	}
}

// TestWriter: whatever tokens are drawn of those that are allowed, the text that ends is JSON of the schema, by a validator of its own; and
// a token is allowed exactly where its bytes can follow.
func TestWriter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var all [][]byte
	for b := range 256 {
		all = append(all, []byte{byte(b)})
	}
	for _, s := range []string{`{"`, `":`, `": `, `", "`, `"}`, `}}`, "true", "nul", "l}", "12", `"a":`, `"b":"`, "ä", "\xe2\x82", "]", "[[", "1}", ", "} {
		all = append(all, []byte(s))
	}
	all = append(all, nil)
	v := NewVocabulary(all)
	for _, c := range cases {
		g, err := Schema([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if doc, err = jsonschema.UnmarshalJSON(strings.NewReader(c.schema)); err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("s.json", doc); err != nil {
			t.Fatal(err)
		}
		held, err := compiler.Compile("s.json")
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(g, v, all)
		ended := 0
		for range 60 {
			text, ids, said := w.Text(), []int32{}, []byte{}
			for len(ids) < 300 {
				bits, end := text.Allow(ids)
				var can []int32
				for id := range all {
					if bits[id/64]>>(id%64)&1 == 1 {
						can = append(can, int32(id))
					}
				}
				if len(ids) < 3 {
					for id, b := range all {
						s := g.Start()
						for _, x := range append(bytes.Clone(said), b...) {
							s = s.Feed(x)
						}
						if want := len(b) > 0 && !s.Dead(); want != (bits[id/64]>>(id%64)&1 == 1) {
							t.Fatalf("%s: %q behind %q: allowed %v", c.schema, b, said, !want)
						}
					}
				}
				if end && (len(can) == 0 || r.IntN(3) == 0) {
					var got any
					if got, err = jsonschema.UnmarshalJSON(bytes.NewReader(said)); err == nil {
						err = held.Validate(got)
					}
					if err != nil || !json.Valid(said) {
						t.Errorf("%s: %s: %v", c.schema, said, err)
					}
					ended++
					break
				}
				if len(can) == 0 {
					t.Errorf("%s: nothing may follow %s", c.schema, said)
					break
				}
				id := can[r.IntN(len(can))]
				if n := len(ids); n > 20 { // towards an end
					for _, x := range can {
						if s := string(all[x]); s == `"` || s == "}" || s == "]" || s == "0" {
							id = x
						}
					}
				}
				ids, said = append(ids, id), append(said, all[id]...)
			}
		}
		if ended < 10 {
			t.Errorf("%s: %d of 60 texts end", c.schema, ended)
		}
	}
}
