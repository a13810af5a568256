package measure

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// manyShards makes an input whose sets have several shards of one sequence or more.
func manyShards(t *testing.T) *Input {
	t.Helper()
	in := held(t, [2]string{"The open() call opens a file", ""}, [2]string{"and gives a descriptor of it", ""}, [2]string{"or -1", ""})
	for i := range 3 {
		more := held(t, [2]string{fmt.Sprintf("Part %d of the manual is about files", i), ""}, [2]string{"and devices", ""})
		in.Domain.Shards = append(in.Domain.Shards, more.Domain.Shards...)
		in.General.Shards = append(in.General.Shards, more.Domain.Shards...)
	}
	return in
}

// apartBy measures an input part by part, in the order that by gives, each by a worker that has read the part as JSON.
func apartBy(t *testing.T, in *Input, by func([]Part)) *Results {
	t.Helper()
	parts, err := Parts(in)
	if err != nil {
		t.Fatal(err)
	}
	by(parts)
	var pieces []Piece
	for _, p := range parts {
		x, err := RunPart(context.Background(), in, p)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var y Piece
		if err := json.Unmarshal(raw, &y); err != nil {
			t.Fatal(err)
		}
		if pieces = append(pieces, y); y.Tokens == 0 {
			t.Errorf("part %+v has read no token", p)
		}
	}
	r, err := Run(context.Background(), in, pieces...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestParts: what shards give is the same to the bit, whether one process measures all or parts come back in any order.
func TestParts(t *testing.T) {
	in := manyShards(t)
	for _, c := range []struct {
		name string
		set  func()
		want string // the parts: set, shard, limit
	}{
		{"everything", func() {}, "domain 0 0,domain 1 0,domain 2 0,domain 3 0,general 0 0,general 1 0,general 2 0"},
		{"five sequences a set", func() { in.Config.MaxSequences = 5 }, "domain 0 3,domain 1 2,general 0 2,general 1 2,general 2 1"},
		{"a named source", func() { in.Config.MaxSequences, in.Origins = 0, map[string]string{"x": "de"} },
			"domain 0 0,domain 1 0,domain 2 0,domain 3 0,general 0 0,general 1 0,general 2 0"},
		{"a named source of few", func() { in.Config.MaxSequences = 5 }, "domain -1 0,general 0 2,general 1 2,general 2 1"},
	} {
		c.set()
		parts, err := Parts(in)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, p := range parts {
			if got = append(got, fmt.Sprintf("%s %d %d", p.Set, p.Shard, p.Limit)); p.Number != i || p.Measure != "perplexity" {
				t.Errorf("%s: part %d is %+v", c.name, i, p)
			}
		}
		if s := strings.Join(got, ","); s != c.want {
			t.Errorf("%s: the parts are %s", c.name, s)
		}
		if parts[0].Shard == 0 { // whoever measures it opens no other shard
			alone := *in
			alone.Domain.Shards = []string{in.Domain.Shards[0], "none"}
			if _, err := RunPart(context.Background(), &alone, parts[0]); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		whole, err := Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if whole.Domain.Tokens == 0 || whole.General.Tokens == 0 || len(whole.Samples) == 0 != (in.Origins != nil) {
			t.Fatalf("%s: %+v", c.name, whole)
		}
		for _, by := range []func([]Part){slices.Reverse[[]Part], func([]Part) {}} {
			if r := apartBy(t, in, by); !reflect.DeepEqual(r, whole) {
				t.Errorf("%s: in parts %+v, else %+v", c.name, r.Domain, whole.Domain)
			}
		}
	}
	if _, err := RunPart(context.Background(), in, Part{Measure: "other"}); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("%v", err)
	}
	if _, err := RunPart(context.Background(), in, Part{Measure: "perplexity", Set: SetDomain, Shard: 9}); err == nil {
		t.Error("a shard that there is not was scored")
	}
}

// TestSumPerplexity: sums are added in the order of the parts, whatever order they come in.
func TestSumPerplexity(t *testing.T) {
	var pieces []Piece
	for _, i := range []int{2, 0, 1} { // 1e16 + 1 is 1e16
		raw := fmt.Sprintf(`[{"nll": %g, "tokens": 2}]`, []float64{1e16, 1, -1e16}[i])
		pieces = append(pieces, Piece{Part: Part{Number: i}, Found: json.RawMessage(raw)})
	}
	if s, err := SumPerplexity(pieces); err != nil || s.NLL != 0 || s.Tokens != 6 {
		t.Errorf("%+v, %v", s, err)
	}
}
