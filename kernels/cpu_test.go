package kernels

import (
	"errors"
	"os"
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
		{Plain, "avx2", Plain}, {Plain, "", Plain}, {AVX512, "avx512", AVX512}, {AVX512BF16, "avx512", AVX512},
		{AVX512, "avx512_bf16", AVX512}, {AMX, "amx", AMX}, {AVX512BF16, "amx", AVX512BF16}, {AMX, "avx512", AVX512}, {AMX, "", AMX},
		{AVX512, emulatedName, AMX}, {AMX, emulatedName, AMX}, {AVX2, emulatedName, AVX2},
	} {
		if got, err := chooseSet(c.best, c.best, c.env); got != c.want || err != nil {
			t.Errorf("best %v, %s=%q: %v (%v), want %v", c.best, EnvSet, c.env, got, err, c.want)
		}
	}
	if s, err := chooseSet(AVX512, AVX512, "sse9"); err == nil || !strings.Contains(err.Error(), `"sse9"`) ||
		!strings.Contains(err.Error(), "plain, avx2, avx512, avx512_bf16 or amx") {
		t.Errorf("an unknown set gave %v, %v", s, err)
	}
}

// A processor's set is known from CPUID alone: AMD multiplies pairs of bfloat16 at twice the speed of float32, Intel does not.
func TestSetsOf(t *testing.T) {
	const amd = "AuthenticAMD"
	for _, c := range []struct {
		name         string
		p            processor
		best, chosen Set
	}{
		{"Zen 3", processor{vendor: amd, avx2: true}, AVX2, AVX2},
		{"Zen 4", processor{vendor: amd, avx2: true, avx512: true, avx512BF16: true}, AVX512BF16, AVX512BF16},
		{"Haswell", processor{vendor: vendorIntel, avx2: true}, AVX2, AVX2},
		{"Skylake", processor{vendor: vendorIntel, avx2: true, avx512: true}, AVX512, AVX512},
		{"Cooper Lake", processor{vendor: vendorIntel, avx2: true, avx512: true, avx512BF16: true}, AVX512BF16, AVX512},
		{"Sapphire Rapids", processor{vendor: vendorIntel, avx2: true, avx512: true, avx512BF16: true}, AVX512BF16, AVX512},
		{"Sapphire Rapids with AMX", processor{vendor: vendorIntel, avx2: true, avx512: true, avx512BF16: true, tiles: true}, AMX, AMX},
		{"AMX that the system refuses", processor{vendor: vendorIntel, avx2: true, avx512: true, avx512BF16: true, tiles: true,
			refused: errors.New("not permitted")}, AVX512BF16, AVX512},
		{"AMX without what goes with it", processor{vendor: vendorIntel, avx2: true, tiles: true}, AVX2, AVX2},
		{"a kernel that saves no wide registers", processor{vendor: vendorIntel, avx2: true, avx512BF16: true}, AVX2, AVX2},
		{"another vendor", processor{vendor: "HygonGenuine", avx2: true, avx512: true, avx512BF16: true}, AVX512BF16, AVX512BF16},
		{"none", processor{}, Plain, Plain},
	} {
		best, chosen, why := setsOf(c.p)
		if best != c.best || chosen != c.chosen || why == "" {
			t.Errorf("%s: best %v, chosen %v (%q), want %v, %v", c.name, best, chosen, why, c.best, c.chosen)
		}
	}
	// What is not chosen can be asked for.
	if s, err := chooseSet(AVX512BF16, AVX512, "avx512_bf16"); s != AVX512BF16 || err != nil {
		t.Errorf("avx512_bf16 asked for gave %v, %v", s, err)
	}
	if s, err := chooseSet(AVX512BF16, AVX512, ""); s != AVX512 || err != nil {
		t.Errorf("nothing asked for gave %v, %v", s, err)
	}
}

// The error on another machine names what both machines have.
func TestSame(t *testing.T) {
	defer SetActive(Plain)()
	for set, want := range map[string]string{
		"amx": "--kernels plain, which both have", "avx1024": "set to a set that all have", "plain": "", "": "",
	} {
		if err := Same(set); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", set, err, want)
		}
	}
}

// What is chosen for a program is chosen for its children.
func TestChoose(t *testing.T) {
	t.Setenv(EnvSet, "") // and restores it
	before := active.Load()
	defer func() { active.Store(before) }()
	if err := Choose("plain"); err != nil || Active() != Plain || os.Getenv(EnvSet) != "plain" {
		t.Errorf("chosen: %v, %v, %q", Active(), err, os.Getenv(EnvSet))
	}
	if err := Choose("sse9"); err == nil || Active() != Plain || os.Getenv(EnvSet) != "plain" {
		t.Errorf("an unknown set: %v, %v, %q", Active(), err, os.Getenv(EnvSet))
	}
	if err := Choose(emulatedName); err != nil || Supported(AVX512) && (Active() != AMX || tiles() != tilesEmulated) {
		t.Errorf("emulated: %v, %v", Active(), err)
	}
	if Supported(AVX512) && !strings.Contains(Why(), "emulated") {
		t.Errorf("the reason is %q", Why())
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
