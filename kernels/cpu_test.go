package kernels

import (
	"strings"
	"testing"
)

func TestChooseSet(t *testing.T) {
	for _, c := range []struct {
		best Set
		env  string
		want Set
	}{
		{AVX512, "", AVX512}, {AVX512, "avx2", AVX2}, {AVX512, "plain", Plain}, {AVX2, "avx512", AVX2},
		{Plain, "avx2", Plain}, {Plain, "", Plain}, {AVX512, "avx512", AVX512}, {AVX512BF16, "avx512", AVX512}, {AVX512, "avx512_bf16", AVX512},
	} {
		if got, err := chooseSet(c.best, c.env); got != c.want || err != nil {
			t.Errorf("best %v, %s=%q: %v (%v), want %v", c.best, EnvSet, c.env, got, err, c.want)
		}
	}
	if s, err := chooseSet(AVX512, "sse9"); err == nil || !strings.Contains(err.Error(), `"sse9"`) || !strings.Contains(err.Error(), "plain, avx2, avx512 or avx512_bf16") {
		t.Errorf("an unknown set gave %v, %v", s, err)
	}
}

// Without CheckEnv a program whose environment names no set stops at its first kernel, rather than computing with another set.
func TestUnsetPanics(t *testing.T) {
	before := active.Swap(unset)
	defer func() {
		active.Store(before)
		if recover() == nil {
			t.Error("no set, and yet a kernel set is in use")
		}
	}()
	Active()
}

func TestSetActive(t *testing.T) {
	before := Active()
	restore := SetActive(Plain)
	if Active() != Plain {
		t.Errorf("active %v after SetActive(plain)", Active())
	}
	restore()
	if Active() != before {
		t.Errorf("active %v after restore, want %v", Active(), before)
	}
	if Supported(AVX512) {
		return
	}
	defer func() {
		if recover() == nil {
			t.Error("an unsupported set was activated")
		}
	}()
	SetActive(AVX512)
}
