package peft_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// wholeNumbers are the names of a configuration's fields that are whole numbers.
func wholeNumbers(t reflect.Type) (out []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch k := f.Type; {
		case f.Anonymous:
			out = append(out, wholeNumbers(f.Type)...)
		case k.Kind() == reflect.Int, k.Kind() == reflect.Pointer && k.Elem().Kind() == reflect.Int:
			out = append(out, name)
		}
	}
	return out
}

// TestNumbersOutOfProportion tries whole numbers that no model has with every field of every method: an error in one line or an adapter,
// soon, and never a panic or a size that overflowed to a small one.
func TestNumbersOutOfProportion(t *testing.T) {
	m := base(t, "llama_gqa")
	for _, row := range peft.Methods {
		t.Run(row.Type, func(t *testing.T) {
			for _, field := range wholeNumbers(reflect.TypeOf(row.New().Config())) {
				for _, n := range []int64{math.MaxInt64, math.MaxInt64 / 64, 1 << 40, 1 << 31, 1 << 30, math.MinInt64} {
					config := row.Comparable(4)
					config[field] = n
					start := time.Now()
					a, err := peft.New(row.Type, config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
					if d := time.Since(start); d > 10*time.Second {
						t.Errorf("%s=%d took %s", field, n, d)
					}
					if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 500) {
						t.Errorf("%s=%d: %v", field, n, err)
					}
					if err == nil && (a.Trainable() <= 0 || n != 1<<30 && a.Trainable() > 1<<30) {
						t.Errorf("%s=%d: an adapter of %d parameters", field, n, a.Trainable())
					}
				}
			}
		})
	}
	for field, v := range map[string]string{"rank_pattern": `{"q_proj": 1e18}`, "rank_pattern ": `{"q_proj": 9223372036854775807}`,
		"layers_to_transform": `[9223372036854775807]`,
		"layer_replication":   "[" + strings.Repeat("[0, 2], ", 100_000) + "[0, 2]]", "layer_replication ": "[[0, 9223372036854775807]]",
		"layer_replication  ": "[[-9223372036854775808, 2]]"} {
		var x any
		if err := json.Unmarshal([]byte(v), &x); err != nil {
			t.Fatal(err)
		}
		_, err := peft.New("LORA", map[string]any{"target_modules": []string{"q_proj"}, strings.TrimSpace(field): x}, nn.Sites(m),
			peft.Env{ModelType: m.Config.ModelType})
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) || len(err.Error()) > 400 {
			t.Errorf("%s: %v", field, fmt.Sprintf("%.500v", err))
		}
	}
}
