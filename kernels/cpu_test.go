package kernels

import "testing"

func TestChooseSet(t *testing.T) {
	for _, c := range []struct {
		best Set
		env  string
		want Set
	}{
		{AVX512, "", AVX512}, {AVX512, "avx2", AVX2}, {AVX512, "plain", Plain}, {AVX2, "avx512", AVX2},
		{Plain, "avx2", Plain}, {Plain, "", Plain}, {AVX512, "avx512", AVX512}, {AVX512BF16, "avx512", AVX512}, {AVX512, "avx512_bf16", AVX512},
	} {
		if got := chooseSet(c.best, c.env); got != c.want {
			t.Errorf("best %v, %s=%q: %v, want %v", c.best, EnvSet, c.env, got, c.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown set was accepted")
		}
	}()
	chooseSet(AVX512, "sse9")
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
