package infer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
)

// mergeTolerance is the largest difference of a logit that merging may make when the merged weights are stored in float32.
const mergeTolerance = 1e-3

// mostWeight bounds the share of an adapter's change that is merged. Beyond 1 it extrapolates, which models stand a few times over.
const mostWeight = 1e6

// mergeStorage is how a model is opened that is passed through once: a matrix is read from its file by each use.
const mergeStorage = "float32@" + quant.Reread

// vacant refuses a folder that holds a model already, with an error that wraps [storage.ErrInUse].
func vacant(to string) error {
	if _, err := os.Stat(filepath.Join(to, "config.json")); err == nil {
		return fmt.Errorf("%w: %s already holds a model", storage.ErrInUse, to)
	}
	return nil
}

// Merge writes the base model in the folder dir with the adapter merged into its weights to the folder to, in dtype ("float32",
// "float16", "bfloat16"; empty for the base's own), and checks logits before and after.
//
// weight is the share of the adapter's change that is merged: each tensor becomes base + weight·(merged - base). 1 is the
// adapter; between 0 and 1 lie the models of WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903), which keep more of what the base
// knows of other text.
func Merge(dir, adapter, to, dtype string, weight float64) (err error) {
	if !(math.Abs(weight) <= mostWeight) {
		return fmt.Errorf("merging with a weight of %g: it must be a number between -%g and %g, 1 for the adapter as it is",
			weight, mostWeight, mostWeight)
	}
	defer quant.CatchRead(&err)
	m, err := Load(dir, mergeStorage, adapter)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := vacant(to); err != nil {
		return err
	}
	if names, err := peft.ClassNames(adapter); err != nil {
		return err
	} else if len(names) > 0 && m.Base.Config.Task == "SEQ_CLS" {
		if err := m.Base.NameClasses(names); err != nil {
			return fmt.Errorf("%s: %w", adapter, err)
		}
	}
	before, err := probe(m.Base, m.Adapters, m.Params, m.Pool)
	if err != nil {
		return err
	}
	changed, err := m.Adapter.MergeStream(m.Params, 0, m.Base.Tensor, weight)
	if err != nil {
		return err
	}
	m.Base.UseTokenizer(adapter)
	if stop, err := m.Stops(); err == nil { // a folder whose tokenizer cannot be read is a model nevertheless
		m.Base.EndAt(stop)
	}
	if err := m.Base.SaveWith(to, dtype, changed.Sizes(), func(name string) ([]float32, error) {
		if changed.Sizes()[name] >= 1<<22 {
			debug.FreeOSMemory() // the tensor before is garbage, and would stay resident beside this one
		}
		return changed.Tensor(name)
	}); err != nil {
		return err
	}
	merged, err := model.LoadAs(to, mergeStorage)
	if err != nil {
		return fmt.Errorf("the merged model does not load: %w", err)
	}
	defer merged.Close()
	after, err := probe(merged, nil, nn.NewParams(1), m.Pool)
	if err != nil {
		return err
	}
	if kernels.NonFinite(after) >= 0 {
		return fmt.Errorf("%s: with a weight of %g the merged model's logits are not finite: do not use it", to, weight)
	}
	worst := 0.0
	for i := range before {
		worst = max(worst, math.Abs(float64(before[i]-after[i])))
	}
	if weight == 1 && (dtype == "float32" || dtype == "" && m.Base.Config.DType == "float32") && !(worst <= mergeTolerance) {
		return fmt.Errorf("%s: merging moved a logit by %g: the merged model is not base and adapter; do not use it", to, worst)
	}
	return nil
}

// probe is the logits of a fixed row of tokens.
func probe(m *model.Model, adapters []nn.Adapter, params *nn.Params, p *pool.Pool) ([]float32, error) {
	n := min(24, m.Config.MaxPositions)
	s := &nn.Step{Docs: []kernels.Doc{{End: int32(n)}}}
	for i := range n {
		s.Tokens = append(s.Tokens, int32((i*2654435761+17)%m.Config.Vocab))
		s.Positions = append(s.Positions, int32(i))
		s.Rows = append(s.Rows, int32(i))
	}
	prog, err := nn.Compile(m, adapters, params, nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: n, S: n, N: 1}, Pool: p})
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	return append([]float32(nil), prog.Forward(s, false)...), nil
}
