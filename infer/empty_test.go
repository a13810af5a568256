package infer

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestWhyEmpty: a continuation that shows nothing says why.
func TestWhyEmpty(t *testing.T) {
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tokenize.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	words, err := tk.AppendIDs(nil, " file", false)
	if err != nil {
		t.Fatal(err)
	}
	_, eos, pad, _ := tk.Special()
	for want, out := range map[string][]int32{"": words, "the first token is": {eos}, "no token was asked for": nil,
		"special tokens from": {pad, eos}, "are special ones": {pad, pad}} {
		if got := whyEmpty(tk, []int32{eos}, out); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", out, got, want)
		}
	}
}
