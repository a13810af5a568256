package infer

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// logits are a model's logits [T, V] of ids.
func logits(t *testing.T, m *Model, ids []int32) []float32 {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	var raw []byte
	for _, id := range ids {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(id))
	}
	input := safetensors.Tensor{Name: "input_ids", DType: "I64", Shape: []int{1, len(ids)}, Raw: raw}
	if err := safetensors.Write(in, []safetensors.Tensor{input}, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Logits(in, out); err != nil {
		t.Fatal(err)
	}
	return golden.Open(t, out).F32("logits")
}

// models are the embedded one alone, and with adapters.
func models(t *testing.T) map[string]*Model {
	t.Helper()
	base := embedded(t)
	out := map[string]*Model{"base": base}
	for method, config := range map[string]map[string]any{
		"PROMPT_TUNING": {"num_virtual_tokens": 3}, "IA3": {"target_modules": []string{"k_proj"}, "feedforward_modules": []string{}},
	} {
		m, err := Load(base.Dir, "", fresh(t, base.Dir, method, config))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		out[method] = m
	}
	return out
}

// TestScore: the log-probabilities of texts are those that the logits give, with an adapter too.
func TestScore(t *testing.T) {
	for name, m := range models(t) {
		got, err := m.Score("The city was built on a hill.", "x", "List the files of a folder")
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			if len(s.LogProbs) != max(0, len(s.IDs)-1) {
				t.Fatalf("%s: text %d has %d tokens and %d scores", name, i, len(s.IDs), len(s.LogProbs))
			}
			l, v, sum := logits(t, m, s.IDs), m.Base.Config.Vocab, 0.0
			for k, got := range s.LogProbs {
				row, z := l[k*v:(k+1)*v], 0.0
				for _, x := range row {
					z += math.Exp(float64(x))
				}
				want := float64(row[s.IDs[k+1]]) - math.Log(z)
				if sum += want; math.Abs(float64(got)-want) > 1e-4 {
					t.Errorf("%s: text %d, token %d: %g, want %g", name, i, k+1, got, want)
				}
			}
			if math.Abs(s.Sum()-sum) > 1e-3 {
				t.Errorf("%s: text %d: a sum of %g, want %g", name, i, s.Sum(), sum)
			}
		}
	}
}

// TestEmbed: what is pooled is what the head reads: its products with the head's weight are the logits; the mean is that of the
// last tokens of all beginnings of the text.
func TestEmbed(t *testing.T) {
	const text = "The city was built on a hill."
	for name, m := range models(t) {
		last, err := m.Embed(PoolLast, text, "another")
		if err != nil || len(last) != 2 {
			t.Fatal(last, err)
		}
		w, err := m.Base.Tensor("lm_head.weight")
		if err != nil {
			if w, err = m.Base.Tensor("model.embed_tokens.weight"); err != nil {
				t.Fatal(err)
			}
		}
		ids, err := m.Prompt(text)
		if err != nil {
			t.Fatal(err)
		}
		l, v, d := logits(t, m, ids), m.Base.Config.Vocab, m.Base.Config.Hidden
		for k := range v {
			sum := 0.0
			for i := range d {
				sum += float64(w[k*d+i]) * float64(last[0][i])
			}
			if want := float64(l[(len(ids)-1)*v+k]); math.Abs(sum-want) > 1e-3 {
				t.Fatalf("%s: logit %d is %g, want %g", name, k, sum, want)
			}
		}
		mean, err := m.Embed(PoolMean, text)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float64, d)
		for n := 1; n <= len(ids); n++ {
			part := make([]Scored, 1)
			part[0].IDs = ids[:n]
			h, err := m.embed(PoolLast, part)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] += float64(h[0][i]) / float64(len(ids))
			}
		}
		for i := range want {
			if math.Abs(float64(mean[0][i])-want[i]) > 1e-4 {
				t.Fatalf("%s: value %d of the mean is %g, want %g", name, i, mean[0][i], want[i])
			}
		}
	}
	if _, err := embedded(t).Embed("max", text); err == nil {
		t.Error("a pooling that there is not is taken")
	}
}
