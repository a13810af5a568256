package train

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestJobText: the text of a job is part of every checkpoint's binding, so that its keys and their order stay.
func TestJobText(t *testing.T) {
	raw, err := json.Marshal(&Job{Start: Start{InitAdapter: "a", Teachers: []string{"t"}, DistillationAlpha: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	want := `"config":null,"init_adapter":"a","teachers":["t"],"distillation_alpha":0.5,"train":null,"validation":null,"sequence_length":0,` +
		`"dir":"","kernel_set":"","threads":0,"memory_limit":0}`
	if !strings.HasSuffix(string(raw), want) {
		t.Errorf("%s, want the end %s", raw, want)
	}
	if raw, err = json.Marshal(&Job{}); err != nil || !strings.Contains(string(raw), `"config":null,"init_adapter":"","train":null`) {
		t.Errorf("%s %v", raw, err)
	}
}
