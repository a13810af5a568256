package datasets

import (
	"math"
	"testing"
)

func sources(n int) (out []MixSource) {
	for i := range n {
		out = append(out, MixSource{Name: string(rune('a' + i))})
	}
	return out
}

// TestShares: temperature sampling with the numbers of its formula, weights as shares, sources without tokens.
func TestShares(t *testing.T) {
	tokens := []int64{1000, 100, 0, 10}
	m := Mix{Sources: sources(4), Temperature: 2, Strategy: AllExhausted}
	sum := math.Sqrt(1000) + math.Sqrt(100) + math.Sqrt(10)
	for i, p := range m.Shares(tokens) {
		if want := math.Sqrt(float64(tokens[i])) / sum; math.Abs(p-want) > 1e-15 {
			t.Errorf("share %d is %g, want %g", i, p, want)
		}
	}
	// The largest source is used once; each of the others by its share of that mix.
	if got := m.Targets(tokens); got[0] != 1000 || got[1] != 316 || got[2] != 0 || got[3] != 100 {
		t.Errorf("all_exhausted: %v", got)
	}
	m.Strategy = FirstExhausted
	if got := m.Targets(tokens); got[0] != 100 || got[1] != 32 || got[2] != 0 || got[3] != 10 {
		t.Errorf("first_exhausted: %v", got)
	}
	m.Temperature = 1
	if got := m.Targets(tokens); got[0] != 1000 || got[1] != 100 || got[3] != 10 {
		t.Errorf("temperature 1 is not proportional: %v", got)
	}
	w := Mix{Sources: sources(2), Strategy: AllExhausted}
	w.Sources[0].Weight, w.Sources[1].Weight = 3, 1
	if got := w.Targets([]int64{100, 300}); got[0] != 900 || got[1] != 300 {
		t.Errorf("weights: %v", got)
	}
	if plain := (Mix{Sources: sources(2), Strategy: AllExhausted}); plain.On() || plain.Targets([]int64{7, 9})[0] != 7 {
		t.Error("sources alone change the corpus")
	}
}

func TestMixErrors(t *testing.T) {
	for name, edit := range map[string]func(*Mix){
		"strategy":           func(m *Mix) { m.Strategy = "second" },
		"temperature":        func(m *Mix) { m.Temperature = -1 },
		"infinite":           func(m *Mix) { m.Temperature = math.Inf(1) },
		"nothing to sample":  func(m *Mix) { m.Temperature, m.Sources = 2, nil },
		"half weighted":      func(m *Mix) { m.Sources[0].Weight = 1 },
		"weight and T":       func(m *Mix) { m.Temperature, m.Sources[0].Weight, m.Sources[1].Weight = 2, 1, 1 },
		"NaN":                func(m *Mix) { m.Sources[0].Weight = math.NaN() },
		"negative cap":       func(m *Mix) { m.Sources[0].MaxTokens = -1 },
		"source with no nam": func(m *Mix) { m.Sources[0].Name = "" },
	} {
		m := Mix{Sources: sources(2), Strategy: AllExhausted}
		edit(&m)
		if m.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestCut compares beginnings found through a histogram with those of a sorted list.
func TestCut(t *testing.T) {
	var all []MixEntry
	h := NewHistogram()
	for i := range int64(20000) {
		e := MixEntry{Hash(DocID("s", i), 3, PurposeMix), 1 + i*i%97}
		all = append(all, e)
		h.Add(e)
	}
	docs, tokens := h.Total()
	for _, c := range []struct{ d, t int64 }{{1, -1}, {777, -1}, {19999, -1}, {0, -1}, {-1, 0}, {-1, 12345}, {500, 1 << 40},
		{1 << 40, tokens - 1}} {
		bin, before := h.Find(c.d, c.t)
		var in []MixEntry
		for _, e := range all {
			if BinOf(e.Hash) == bin {
				in = append(in, e)
			}
		}
		b := Cut(before, in, c.d, c.t)
		var n, sum, least int64 = 0, 0, math.MaxInt64
		for _, e := range all {
			if b.Has(e.Hash) {
				n, sum = n+1, sum+e.Tokens
			} else if e.Hash == b.Below {
				least = e.Tokens
			}
		}
		if n != b.Documents || sum != b.Tokens || c.d >= 0 && n > c.d || c.t >= 0 && sum > c.t {
			t.Errorf("%v: %d documents of %d tokens, the bound says %+v", c, n, sum, b)
		}
		if !(c.d >= 0 && n+1 > c.d || c.t >= 0 && sum+least > c.t) {
			t.Errorf("%v: one more would fit: %d documents, %d tokens and %d", c, n, sum, least)
		}
	}
	if bin, b := h.Find(docs, tokens); bin != -1 || b.Documents != docs || !b.Has(math.MaxUint64) {
		t.Errorf("all documents: %d %+v", bin, b)
	}
}
