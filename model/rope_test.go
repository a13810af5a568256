package model

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
)

func ropeOf(t *testing.T, raw string, headDim, positions int, theta, partial float64) rope {
	t.Helper()
	c := &Config{HeadDim: headDim, MaxPositions: positions}
	if err := json.Unmarshal([]byte(raw), &c.raw); err != nil {
		t.Fatal(err)
	}
	r, err := readRope(c, theta, partial)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// turn rotates one head of ones at a position.
func turn(r rope, headDim int, pos int32) []float32 {
	x := make([]float32, headDim)
	for i := range x {
		x[i] = 1
	}
	kernels.Rope(nil, x, x, 1, 1, headDim, r.dim, []int32{pos}, r.table, false, false)
	return x
}

// TestRopePositions compares with angles computed here, at positions near and far, asked for in any order.
func TestRopePositions(t *testing.T) {
	const dim, theta = 8, 500000.0
	r := ropeOf(t, `{}`, dim, 131072, theta, 1)
	for _, pos := range []int32{0, 255, 256, 131071, 32768, 32767, 70000, 1} {
		got := turn(r, dim, pos)
		for i := range dim / 2 {
			f := 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
			s, c := math.Sincos(float64(f * float32(pos)))
			if a, b := float32(c)-float32(s), float32(c)+float32(s); got[i] != a || got[i+dim/2] != b {
				t.Errorf("position %d, pair %d: %v and %v, want %v and %v", pos, i, got[i], got[i+dim/2], a, b)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a position beyond the limit was rotated")
		}
	}()
	turn(r, dim, 131072)
}

// TestPartialRotary: the elements beyond the factor's share stay, the others turn as those of a head of that size.
func TestPartialRotary(t *testing.T) {
	for _, raw := range []string{`{"partial_rotary_factor": 0.5}`,
		`{"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000}}`} {
		r := ropeOf(t, raw, 16, 64, 10000, 1)
		if r.dim != 8 {
			t.Fatalf("%s: %d elements turn, want 8", raw, r.dim)
		}
		got, want := turn(r, 16, 5), turn(ropeOf(t, `{}`, 8, 64, 10000, 1), 8, 5)
		for i, v := range got {
			if i < 8 && v != want[i] || i >= 8 && v != 1 {
				t.Errorf("%s: element %d is %v", raw, i, v)
			}
		}
	}
	if r := ropeOf(t, `{}`, 16, 64, 10000, 0.25); r.dim != 4 {
		t.Errorf("rotary_pct 0.25 of 16 elements turns %d", r.dim)
	}
}

// TestScalingByLayerType reads the two rotary embeddings of newer Gemma 3 files.
func TestScalingByLayerType(t *testing.T) {
	raw := `{"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 1000000},
		"sliding_attention": {"rope_type": "default", "rope_theta": 10000}}}`
	c := &Config{HeadDim: 8, MaxPositions: 64}
	if err := json.Unmarshal([]byte(raw), &c.raw); err != nil {
		t.Fatal(err)
	}
	full, err := readScaling(c, "full_attention")
	local, lerr := readScaling(c, "sliding_attention")
	if err != nil || lerr != nil || full.RopeType != "linear" || full.Factor != 8 || full.Theta != 1e6 || local.RopeType != "default" ||
		local.Theta != 1e4 {
		t.Errorf("%+v, %+v, %v, %v", full, local, err, lerr)
	}
	got, want := turn(ropeOf(t, raw, 8, 64, 1, 1), 8, 16), turn(ropeOf(t, `{}`, 8, 64, 1e6, 1), 8, 2)
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("linear scaling by 8: element %d at position 16 is %v, at 2 without it %v", i, got[i], want[i])
		}
	}
}

// TestScalingNames reads one yarn under all the names that files have for it, and positions up to what it is made for.
func TestScalingNames(t *testing.T) {
	want := turn(ropeOf(t, `{"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32}}`, 16, 32, 1000, 1),
		16, 100)
	for _, raw := range []string{`{"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": null, "beta_fast": 32, "beta_slow": 1}}`,
		`{"rope_scaling": {"rope_type": "yarn", "type": "yarn", "factor": 4}}`, // of max_position_embeddings
		`{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1000, "truncate": true}}`,
		`{"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1000}}}`} {
		if got := turn(ropeOf(t, raw, 16, 32, 1000, 1), 16, 100); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
	for raw, want := range map[string]string{`{"rope_scaling": {"type": "yarn"}}`: "factor of yarn is 0", `{"rope_scaling": {"type": "dynamic", "factor": 0.5}}`: "factor is 0.5",
		`{"rope_scaling": {"type": "mrope"}}`: `type "mrope" is not supported`} {
		c := &Config{HeadDim: 16, MaxPositions: 32}
		if err := json.Unmarshal([]byte(raw), &c.raw); err != nil {
			t.Fatal(err)
		}
		if _, err := readRope(c, 1000, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}
