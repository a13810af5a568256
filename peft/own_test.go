package peft

import (
	"strings"
	"testing"
)

// refused says whether f panics with a text.
func refused(t *testing.T, text string, f func()) {
	t.Helper()
	n := len(Methods)
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, text) || len(Methods) != n {
			t.Errorf("%d rows after %q, want %q", len(Methods), got, text)
		}
	}()
	f()
}

func TestRegister(t *testing.T) {
	refused(t, "there is a method lora already", func() { Register(Row{Type: "lora", New: newLora}) })
	refused(t, "has a type and a constructor", func() { Register(Row{Type: "OWN"}) })
	refused(t, "has a type and a constructor", func() { Register(Row{New: newLora}) })
	before := Methods
	defer func() { Methods = before }()
	Register(Row{Type: "OWN", New: newLora})
	refused(t, "there is a method own already", func() { Register(Row{Type: "own", New: newLora}) })
}
