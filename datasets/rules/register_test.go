package rules

import (
	"strings"
	"testing"
)

func TestRegister(t *testing.T) {
	before := Table
	defer func() { Table = before }()
	refused := func(text string, e Entry) {
		t.Helper()
		n := len(Table)
		defer func() {
			t.Helper()
			if got, _ := recover().(string); !strings.Contains(got, text) || len(Table) != n {
				t.Errorf("%d rows after %q, want %q", len(Table), got, text)
			}
		}()
		Register(e)
	}
	rule := func() Rule { return NewLength() }
	refused("there is a rule length already", Entry{Name: "length", New: rule})
	refused("has a name and a constructor", Entry{Name: "own"})
	refused("has a name and a constructor", Entry{New: rule})
	Register(Entry{Name: "own", New: rule})
	refused("there is a rule own already", Entry{Name: "own", New: rule})
	if r, err := Decode(map[string]any{"rule": "own", "min_words": 2}); err != nil || r.(*Length).MinWords != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
