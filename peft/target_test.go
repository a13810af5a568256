package peft

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestTargetsOfPEFT compares which modules a configuration targets with HF PEFT 0.21; interop/peft_targets.py wrote the table.
func TestTargetsOfPEFT(t *testing.T) {
	raw, err := os.ReadFile("testdata/targets/targets.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Names []string
		Cases []struct {
			Config   json.RawMessage
			Targeted []string
		}
	}
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	for _, c := range table.Cases {
		var cfg LoraConfig
		if _, err := decodeConfig("LORA", c.Config, &cfg, loraUnused, false); err != nil {
			t.Fatal(err)
		}
		m, err := newMatcher(targetSpec{Target: cfg.TargetModules, Exclude: cfg.ExcludeModules, Layers: cfg.LayersToTransform,
			LayersPattern: cfg.LayersPattern, Save: cfg.ModulesToSave})
		if err != nil {
			t.Errorf("%s: %v", c.Config, err)
			continue
		}
		var got []string
		for _, n := range table.Names {
			ok, err := m.match(n)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, c.Targeted) {
			t.Errorf("%s: targets %v, PEFT %v", c.Config, got, c.Targeted)
		}
	}
	if len(table.Cases) < 20 {
		t.Errorf("%d cases", len(table.Cases))
	}
}
