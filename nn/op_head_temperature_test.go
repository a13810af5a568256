package nn

import (
	"math"
	"testing"
)

// TestTemperature: log p and its gradients are those of logits divided by the temperature, whatever of the head is trained.
func TestTemperature(t *testing.T) {
	const heat = 0.7
	for name, f := range toys {
		t.Run(name, func(t *testing.T) {
			m := small()
			f(&m)
			s := m.step(7, 1, 12)
			s.Temperature = heat
			if checkGradients(t, m, s) == 0 {
				t.Error("no parameter")
			}
			if m.dropout > 0 {
				return
			}
			hot, _ := run(t, m, s, Options{})
			params := NewParams(1)
			p, err := Compile(m, nil, params, Options{Mode: ModeLogits, Caps: caps(s)})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			cold := *s
			cold.Temperature = 0
			logits := p.Forward(&cold, false)
			v := len(logits) / len(s.Rows)
			for i, k := range s.Labels {
				sum := 0.0
				for _, x := range logits[i*v : (i+1)*v] {
					sum += math.Exp(float64(x) / heat)
				}
				if want := float64(logits[i*v+int(k)])/heat - math.Log(sum); math.Abs(want-float64(hot[i])) > 1e-4 {
					t.Errorf("label %d: log p %g, want %g", i, hot[i], want)
				}
			}
		})
	}
}
