package peft

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
)

// startPissa takes the first r singular values and vectors of W/scale = U·S·Vᵀ: A = √S·Vᵀ, B = U·√S.
func startPissa(l *lora, p *pair, s nn.Site) error {
	niter := -1
	if n, ok := strings.CutPrefix(strings.ToLower(l.cfg.InitLoraWeights.Name), "pissa_niter_"); ok {
		niter, _ = strconv.Atoi(n)
	}
	return l.rebased(p, s, false, func(w []float32) (a, b, _ []float32) {
		d := svdOf(p.b.Rows, p.a.Cols, w, p.r, niter, philox.NewKey(l.seed, "pissa", p.name))
		for k := range d.s {
			d.s[k] = math.Sqrt(d.s[k] / p.scale)
		}
		a, b = d.factors()
		return a, b, nil
	})
}

// reopen says why a saved adapter cannot be used: its base cannot be made again.
func (l *lora) reopen() error {
	if i := l.cfg.InitLoraWeights.Name; strings.HasPrefix(strings.ToLower(i), "pissa_niter_") {
		return fmt.Errorf("peft: LORA: init_lora_weights is %q: the random decomposition that changed the base is another in every "+
			"process, so the base of this "+
			"adapter cannot be made again; save it from PEFT with path_initial_model_for_weight_conversion, which makes a plain LoRA of it",
			i)
	}
	return nil
}
