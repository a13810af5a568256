package recipe

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestNumbersInBounds tries the largest and the impossible numbers with every setting that is a number: no recipe with them is taken, in
// one line that names it.
func TestNumbersInBounds(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\n  general_input: [b]\n")
	if _, err := Resolve(base); err != nil {
		t.Fatal(err)
	}
	try := func(path, value string) {
		t.Helper()
		l, err := Set(path, value)
		if err == nil {
			_, err = Resolve(base, l)
		}
		if err == nil || !strings.Contains(err.Error(), path[strings.LastIndex(path, ".")+1:]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%s: %v, want an error that names it", path, value, err)
		}
	}
	for _, f := range Fields() {
		switch f.Type {
		case "integer":
			if f.Path != "train.seed" { // any number is one
				try(f.Path, fmt.Sprint(math.MaxInt64))
				try(f.Path, "18446744073709551615")
				try(f.Path, "4294967296000")
			}
			try(f.Path, "-9223372036854775808")
			try(f.Path, ".nan")
			try(f.Path, "1e300")
		case "number":
			try(f.Path, ".nan")
			try(f.Path, ".inf")
			try(f.Path, "-.inf")
		}
	}
	for _, path := range []string{"method.lora_alpha", "train.lr_scheduler_kwargs", "compare.learning_rates"} {
		for _, v := range []string{".nan", ".inf"} {
			switch path {
			case "train.lr_scheduler_kwargs":
				v = "{num_cycles: " + v + "}"
			case "compare.learning_rates":
				v = "[" + v + "]"
			}
			try(path, v)
		}
	}
	// Numbers that are sound one by one, but not together.
	var layers []Layer
	for _, kv := range [][2]string{{"batch_size", "1000000"}, {"gradient_accumulation_steps", "1000000"}} {
		l, err := Set(strings.Replace(kv[0], "batch_size", "train.per_device_train_batch_size", 1), kv[1])
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	if _, err := Resolve(append([]Layer{base}, layers...)...); err == nil || !strings.Contains(err.Error(),
		"gradient_accumulation_steps") || !strings.Contains(err.Error(), "product") {
		t.Errorf("the product of both: %v", err)
	}
}

// A number with a fraction, or one beyond all whole ones, is not cut where a whole number is wanted: in a recipe, and as a setting.
func TestWholeNumbers(t *testing.T) {
	for _, f := range Fields() {
		if f.Type != "integer" {
			continue
		}
		section, key, _ := strings.Cut(f.Path, ".")
		for _, v := range []string{"1.5", "0.999", "18446744073709551616", "-9223372036854775809", "1e17"} {
			if _, err := Parse("r.yaml", []byte(fmt.Sprintf("%s:\n  %s: %s\n", section, key, v))); err == nil {
				t.Errorf("%s: %s is taken", f.Path, v)
			}
			if got, err := parseValue(f.Path, v); err == nil {
				t.Errorf("--set %s=%s is %v", f.Path, v, got)
			}
		}
		for _, v := range []string{"2", "2.0", "1e2"} {
			if _, err := Parse("r.yaml", []byte(fmt.Sprintf("%s:\n  %s: %s\n", section, key, v))); err != nil {
				t.Error(err)
			}
		}
	}
}

// A name without end does not make an error without end.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	_, top := Parse("r.yaml", []byte(long+": 1\n"))
	_, in := Parse("r.yaml", []byte("train:\n  "+long+": 1\n"))
	_, set := lookup(long)
	for i, err := range []error{top, in, set} {
		if err == nil || len(err.Error()) > 400 {
			t.Errorf("%d: %.200v", i, err)
		}
	}
}
