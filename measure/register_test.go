package measure

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// ownSettings are those of a registered measure.
type ownSettings struct {
	Most int `yaml:"most" json:"most" bounds:"[1,9]" help:"how much is enough"`
}

// own is a measure that gives its setting back.
func own() Measure {
	return Measure{
		Name: "own", Doc: "its setting", Columns: []Column{{Name: "most", Format: "%.0f"}},
		Settings: func() any { return &ownSettings{Most: 3} },
		Run: func(_ context.Context, in *Input, out *Results) error {
			s, err := in.Settings()
			if err != nil {
				return err
			}
			out.Add(in.Row, Line{Numbers: Numbers{"most": float64(s.(*ownSettings).Most)}})
			return nil
		},
	}
}

// refused holds Register to a panic with the text, after which the table is as before.
func refused(t *testing.T, text string, change func(*Measure)) {
	t.Helper()
	m, n := own(), len(Measures)
	change(&m)
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, text) || len(Measures) != n {
			t.Errorf("%d rows after %q, want %q", len(Measures), got, text)
		}
	}()
	Register(m)
}

// TestRegister: a registered measure is measured where the settings name it, with the settings beside its name; what is wrong with a row is
// a panic, and with a list an error.
func TestRegister(t *testing.T) {
	was := Measures
	defer func() { Measures = was }()
	Measures = was[:len(was):len(was)]
	refused(t, "a measure has a name", func(m *Measure) { m.Name = "" })
	refused(t, "a measure has a name", func(m *Measure) { m.Run = nil })
	refused(t, "there is a measure samples already", func(m *Measure) { m.Name = "samples" })
	refused(t, "domain is the name of other results", func(m *Measure) { m.Name = "domain" })
	refused(t, "column 1 of own has no name of its own", func(m *Measure) { m.Columns = append(m.Columns, m.Columns[0]) })
	refused(t, "has one of Parts and Part", func(m *Measure) { m.Parts = func(*Input) ([]Part, error) { return nil, nil } })
	refused(t, "must be a pointer to a struct", func(m *Measure) { m.Settings = func() any { return ownSettings{} } })
	refused(t, "in the tags yaml and json, and a tag help", func(m *Measure) {
		m.Settings = func() any {
			return &struct {
				Most int `yaml:"most" json:"least" help:"x"`
			}{}
		}
	})
	refused(t, "a default of own: most is 0", func(m *Measure) { m.Settings = func() any { return &ownSettings{} } })
	c := Config{Measures: []map[string]any{{"name": "own"}}}
	if err := c.CheckMeasures(); err == nil || err.Error() != `[0]: the measure "own" is unknown: the program has none of its own` {
		t.Errorf("%v", err)
	}
	Register(own())
	refused(t, "there is a measure own already", func(*Measure) {})

	in := held(t, [2]string{"The quick brown fox jumps over the lazy dog", ""})
	for most, list := range map[float64][]map[string]any{0: nil, 3: {{"name": "own"}}, 7: {{"name": "own", "most": 7}}} {
		in.Config.Measures = list
		if err := in.Config.CheckMeasures(); err != nil {
			t.Fatal(err)
		}
		r, err := Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if l := r.More["own"]; most == 0 && l != nil || most > 0 && (len(l) != 1 || l[0].Numbers["most"] != most) {
			t.Errorf("of %v it is %+v", list, l)
		}
	}
	for text, list := range map[string][]map[string]any{
		`[1]: the measure own is there twice`:                    {{"name": "own"}, {"name": "own"}},
		`[0]: the measure "none" is unknown; it is one of own`:   {{"name": "none"}},
		`[0]: a measure has no name: write - name: NAME`:         {{"rule": "own"}},
		`[0]: own.most is 10; it must be at most 9`:              {{"name": "own", "most": 10}},
		`[0]: own: unknown key "least"; its keys are [most]`:     {{"name": "own", "least": 1}},
		`[0]: own: json: cannot unmarshal string into Go struct`: {{"name": "own", "most": "many"}},
	} {
		if err := (&Config{Measures: list}).CheckMeasures(); err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

// TestRegisterParts: a registered measure is taken apart by its settings, and puts together what was found of its parts.
func TestRegisterParts(t *testing.T) {
	was := Measures
	defer func() { Measures = was }()
	Measures = was[:0:0]
	m := own()
	m.Parts = func(in *Input) (out []Part, err error) {
		s, err := in.Settings()
		if err != nil {
			return nil, err
		}
		for range s.(*ownSettings).Most {
			out = append(out, Part{Set: SetDomain})
		}
		return out, nil
	}
	m.Part = func(_ context.Context, in *Input, p Part) (any, error) {
		in.tokens++
		return p.Number + 1, nil
	}
	m.Run = func(ctx context.Context, in *Input, out *Results) error {
		pieces, err := in.Pieces(ctx)
		if err != nil {
			return err
		}
		sum := 0.
		for _, p := range pieces {
			var x float64
			if err := json.Unmarshal(p.Found, &x); err != nil {
				return err
			}
			sum = 10*sum + x
		}
		out.Add(in.Row, Line{Numbers: Numbers{"most": sum}})
		return nil
	}
	Register(m)
	in := &Input{Config: Config{Measures: []map[string]any{{"name": "own"}}}}
	r := apartBy(t, in, slices.Reverse[[]Part])
	if len(r.More["own"]) != 1 || r.More["own"][0].Numbers["most"] != 123 {
		t.Errorf("%+v", r)
	}
}
