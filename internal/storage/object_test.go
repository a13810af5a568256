package storage

import (
	"strings"
	"testing"
)

// What is not an object is said so, without the fields of a struct in Go.
func TestUnmarshal(t *testing.T) {
	var v struct {
		Layers int `json:"num_hidden_layers"`
	}
	for text, want := range map[string]string{
		`[1]`: "it is a JSON array", `"x"`: "it is a JSON string", `3`: "it is a JSON number",
		`{"num_hidden_layers": "x"}`: "num_hidden_layers", `{`: "unexpected end",
	} {
		if err := Unmarshal([]byte(text), &v); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "struct {") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := Unmarshal([]byte(`{"num_hidden_layers": 3}`), &v); err != nil || v.Layers != 3 {
		t.Errorf("%d, %v", v.Layers, err)
	}
}
