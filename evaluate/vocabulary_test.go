package evaluate

import (
	"math"
	"strings"
	"testing"
)

// TestIdsBeyondTheVocabulary: a prompt with an id that the model has no row for is an error that names it, and so are numbers that no
// sampling has.
func TestIdsBeyondTheVocabulary(t *testing.T) {
	m, g := generator(t, "llama_gqa", 40)
	for _, id := range []int32{-1, int32(m.Config.Vocab), math.MaxInt32} {
		if _, err := g.Generate([]int32{5, id}, Sampling{MaxNewTokens: 2}, nil, nil); err == nil ||
			!strings.Contains(err.Error(), "vocabulary") {
			t.Errorf("id %d: %v", id, err)
		}
	}
	if _, err := g.Generate([]int32{5, int32(m.Config.Vocab) - 1}, Sampling{MaxNewTokens: 2}, nil, nil); err != nil {
		t.Error(err)
	}
	for _, s := range []Sampling{{MaxNewTokens: math.MaxInt}, {MaxNewTokens: 2, DoSample: true, Temperature: math.Inf(1)},
		{MaxNewTokens: 2, DoSample: true, Temperature: math.NaN()}} {
		if _, err := g.Generate([]int32{5}, s, nil, nil); err == nil {
			t.Errorf("%+v: no error", s)
		}
	}
}
