package infer

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestMany: answers have the bits of those of each adapter asked alone, whatever others are asked with it and however many are held; no
// more than that are held, those used last, and all memory is given back.
func TestMany(t *testing.T) {
	dir := embedded(t).Dir
	folders := map[string]string{"a": strong(t, dir, 3), "b": strong(t, dir, 5), "a:b": strong(t, dir, 7),
		"v": fresh(t, dir, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 3}),
		"k": fresh(t, dir, "LORA", map[string]any{"r": 2, "target_modules": "all-linear"})}
	kernels.FreeIdle()
	before := freed(0)
	open := func(most int) *Many {
		x, err := HoldMany(dir, "", tokenize.Ends{}, most, func(name string) (string, error) { return folders[name], nil })
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	ctx := context.Background()
	s := evaluate.Sampling{MaxNewTokens: 4, DoSample: true, Temperature: 1, Seed: 3}
	ask := func(x *Many, qs []Question) (out []string) {
		said, refused, err := x.Generate(ctx, qs, s)
		if err != nil {
			t.Fatal(err)
		}
		scored, _, err := x.Score(ctx, qs)
		if err != nil {
			t.Fatal(err)
		}
		vectors, _, err := x.Embed(ctx, PoolLast, qs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range qs {
			if (refused[i] != nil) != (qs[i].Adapter == "none") {
				t.Errorf("%q is refused: %v", qs[i].Adapter, refused[i])
			}
			out = append(out, fmt.Sprint(said[i].IDs, scored[i].LogProbs, vectors[i]))
		}
		return out
	}
	var qs []Question
	for i, text := range []string{"The city was built on a hill.", "She", "Once upon a time there was a"} {
		for k, name := range []string{"", "a", "b", "a:b", "v", "k", "none"} {
			qs = append(qs, Question{name, text, uint64(10*i + k)})
		}
	}
	x := open(8)
	want := ask(x, qs)
	if got := x.Held(); len(got) != 5 {
		t.Errorf("held are %v", got)
	}
	for i, q := range qs {
		if got := ask(x, []Question{q}); got[0] != want[i] {
			t.Errorf("%q of %q: beside others the answer is %.60s, by itself %.60s", q.Text, q.Adapter, want[i], got[0])
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(2)
	if got := ask(x, qs); !slices.Equal(got, want) {
		t.Error("with two adapters at a time the answers are others")
	}
	for _, name := range []string{"a", "b", "a", "v"} {
		ask(x, []Question{{name, "She", 1}})
	}
	if got := x.Held(); !slices.Equal(got, []string{"a", "v"}) {
		t.Errorf("held are %v", got)
	}
	for _, p := range x.all.Params.List() {
		if member, _, _ := strings.Cut(p.Name, ":"); x.all.set.Get(member) == nil {
			t.Errorf("the parameter %s of an adapter that is held no more is in memory", p.Name)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if after := freed(before); after != before {
		t.Errorf("%d bytes are held when all is closed, %d by others", after-before, mem.Held()-after)
	}
	folders["broken"] = filepath.Join(t.TempDir(), "gone")
	x = open(2)
	defer x.Close()
	if _, _, err := x.Score(ctx, []Question{{"broken", "x", 0}}); err == nil {
		t.Error("an adapter that does not open is passed over")
	}
}
