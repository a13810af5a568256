package recipe

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// most are the largest values of settings that count something, where more than a person can want would overflow, or take the machine, before anything is
// learnt. A whole number without a row may be 2147483647 at most.
var most = map[string]uint64{
	"prepare.sequence_length":           1 << 24,
	"prepare.tokens_per_shard":          1 << 40,
	"train.max_steps":                   1_000_000_000,
	"train.per_device_train_batch_size": 1 << 20,
	"train.gradient_accumulation_steps": 1 << 20,
	"train.replicas":                    1 << 16,
	"train.optimizer_shards":            1 << 16,
	"train.min_replicas":                1 << 16,
	"train.seed":                        math.MaxUint64,
	"evaluate.batch_size":               1 << 20,
	"evaluate.max_new_tokens":           1 << 24,
	"keys.group_keys":                   1 << 20,
	"compare.parameter_budget":          1 << 40,
}

// mostEpochs bounds num_train_epochs, and mostSequences the sequences of an optimiser step, whose tokens are then countable.
const (
	mostEpochs    = 1_000_000
	mostSequences = 1 << 31
)

// bounded checks what holds for all numbers: they are finite, and whole ones are within their bounds.
func (r *Recipe) bounded() error {
	for _, f := range Fields() {
		switch f.Type {
		case "integer":
			limit, ok := most[f.Path]
			if !ok {
				limit = math.MaxInt32
			}
			v := r.field(f.Path)
			if v.CanInt() && v.Int() > 0 && uint64(v.Int()) > limit || v.CanUint() && v.Uint() > limit {
				return fmt.Errorf("%s is %s; it must be at most %d", f.Path, r.text(f.Path), limit)
			}
		case "number", "object", "list":
			if err := finite(f.Path, r.field(f.Path).Interface()); err != nil {
				return err
			}
		}
	}
	if r.Train.NumTrainEpochs > mostEpochs {
		return fmt.Errorf("train.num_train_epochs is %g; it must be at most %d", r.Train.NumTrainEpochs, mostEpochs)
	}
	t := &r.Train
	if n := float64(t.PerDeviceTrainBatchSize) * float64(t.GradientAccumulationSteps) * float64(t.Replicas); n > mostSequences {
		return fmt.Errorf("train.per_device_train_batch_size is %d, gradient_accumulation_steps %d and replicas %d: their product, the sequences of a step, "+
			"must be at most %d", t.PerDeviceTrainBatchSize, t.GradientAccumulationSteps, t.Replicas, mostSequences)
	}
	return finite("method", r.Method)
}

// finite refuses numbers that are none in a value of any kind.
func finite(path string, v any) error {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s is %g; it must be a finite number", path, v)
		}
	case []float64:
		for i, x := range v {
			if err := finite(fmt.Sprintf("%s[%d]", path, i), x); err != nil {
				return err
			}
		}
	case []any:
		for i, x := range v {
			if err := finite(fmt.Sprintf("%s[%d]", path, i), x); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := finite(path+"."+k, v[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// exact is the largest number below which the YAML library's floating-point numbers are all whole ones that they were written as.
const exact = 1 << 53

// whole refuses a number with a fraction, or one too large to be exact, where a whole one is wanted: the YAML library would cut it. It
// gives numbers beyond 64 bits, and those in quotation marks, as text.
func whole(f Field, v any) error {
	if f.Type != "integer" {
		return nil
	}
	x, ok := v.(float64)
	if s, text := v.(string); text {
		_, signed := strconv.ParseInt(s, 0, 64)
		_, unsigned := strconv.ParseUint(s, 0, 64)
		if signed == nil || unsigned == nil {
			return nil
		}
		var err error
		x, err = strconv.ParseFloat(s, 64)
		ok = err == nil || errors.Is(err, strconv.ErrRange)
	}
	if !ok || x == math.Trunc(x) && math.Abs(x) <= exact {
		return nil
	}
	return fmt.Errorf("%s is %v; it must be a whole number of at most 64 bits", f.Path, v)
}
