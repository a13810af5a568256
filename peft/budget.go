package peft

import (
	"fmt"
	"maps"
	"math"
	"reflect"

	"github.com/adaptflow/adaptflow/nn"
)

// sizes are the configuration fields that set how many parameters a method trains, in the order in which they are looked for. OFT has a
// block size unless it is given r.
var sizes = []string{"oft_block_size", "r", "num_virtual_tokens", "n_frequency", "boft_block_size", "adapter_len", "num_vectors",
	"block_size", "reduction_factor"}

// Fit sizes a method so that it trains about budget parameters: it returns the configuration with the method's size field (the rank r, the
// number of virtual tokens, …) set to the value whose count is nearest, and that count. A method without such a field, or whose field
// config sets, is returned as it is.
func Fit(peftType string, config map[string]any, sites []nn.Site, env Env, budget int) (map[string]any, int, error) {
	row, err := find(peftType)
	if err != nil {
		return nil, 0, err
	}
	count := func(c map[string]any) (int, error) {
		a, err := New(peftType, c, sites, env)
		if err != nil {
			return 0, err
		}
		return a.Trainable(), nil
	}
	known := map[string]reflect.Value{}
	collect(reflect.ValueOf(row.New().Config()).Elem(), known)
	field := ""
	for _, f := range sizes {
		if _, ok := known[f]; ok {
			field = f
			break
		}
	}
	_, given := config[field]
	if r, ok := config["r"]; field == "oft_block_size" && ok && r != 0 {
		given = true
	}
	if field == "" || given || budget <= 0 {
		n, err := count(config)
		return config, n, err
	}
	best, bestCount, distance := map[string]any(nil), 0, math.Inf(1)
	var last error
	for _, size := range []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256,
		320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 3072, 4096} {
		c := maps.Clone(config)
		if c == nil {
			c = map[string]any{}
		}
		c[field] = size
		n, err := count(c)
		if err != nil { // a size that does not divide a dimension, or is above it
			last = err
			continue
		}
		if d := math.Abs(math.Log(float64(n) / float64(budget))); d < distance {
			best, bestCount, distance = c, n, d
		}
	}
	if best == nil {
		return nil, 0, fmt.Errorf("no value of %s fits this model: %w", field, last)
	}
	return best, bestCount, nil
}
