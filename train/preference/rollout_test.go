package preference

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// rolloutCase is a case of testdata/rollouts.json, made of TRL's by interop/golden/rollouts.py.
type rolloutCase struct {
	Name, Method string
	Settings     json.RawMessage
	Scaling      json.RawMessage
	Loss         float64
	Metrics      map[string]float64
	Rewards      [][]*float64
	Advantages   []float64
	LogP, Old    [][]float32
	Ref, Entropy [][]float32
	OldSums      []float64 `json:"old_sums"`
	Items        float64
	Lengths      []int
}

func (c *rolloutCase) rows() (out []Rollout) {
	for i := range c.LogP {
		a := Rollout{LogP: c.LogP[i], Ref: c.Ref[i], Entropy: c.Entropy[i], Advantage: c.Advantages[i],
			Length: c.Items / float64(len(c.LogP))}
		if c.Old != nil {
			a.Old = c.Old[i]
		} else { // of which only the sum counts
			a.Old = make([]float32, len(a.LogP))
			a.Old[0] = float32(c.OldSums[i])
		}
		out = append(out, a)
	}
	return out
}

func (c *rolloutCase) rewards() (out [][]float64) {
	for _, r := range c.Rewards {
		var row []float64
		for _, x := range r {
			if x == nil {
				row = append(row, math.NaN())
			} else {
				row = append(row, *x)
			}
		}
		out = append(out, row)
	}
	return out
}

func slopesOf(rows []Rollout) (out [][]float64) {
	for i := range rows {
		out = append(out, make([]float64, len(rows[i].LogP)))
	}
	return out
}

// TestGoldenRollouts: TRL's losses, advantages and metrics of the log-probabilities and rewards that TRL had.
func TestGoldenRollouts(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range golden.JSON[[]rolloutCase](t, filepath.Join("testdata", "rollouts.json")) {
		t.Run(c.Name, func(t *testing.T) {
			rows := c.rows()
			var loss float64
			var m RolloutMetrics
			var advantages []float64
			var flat []bool
			scaling := NewScaling()
			if err := json.Unmarshal(c.Scaling, &scaling); err != nil {
				t.Fatal(err)
			}
			if err := scaling.Check(); err != nil {
				t.Fatal(err)
			}
			if c.Method == "RLOO" {
				o := NewRLOO()
				c.into(t, &o)
				loss, m = o.Loss(rows, slopesOf(rows)), o.Measure(rows)
				kl := make([]float64, len(rows))
				for i := range kl { // at sampling the policy was what it is
					for k, x := range c.LogP[i] {
						kl[i] += float64(x) - float64(c.Ref[i][k])
					}
				}
				advantages, flat = o.Advantages(&scaling.Groups, c.rewards(), kl)
			} else {
				o := NewGRPO()
				c.into(t, &o)
				seen[o.LossType] = true
				loss, m = o.Loss(rows, slopesOf(rows)), o.Measure(rows)
				advantages, flat = scaling.Advantages(c.rewards())
			}
			near(t, "the loss", loss/float64(len(rows)), c.Loss, 2e-6)
			for i, a := range advantages {
				near(t, "an advantage", a, c.Advantages[i], 2e-6)
			}
			flats := 0.0
			for _, f := range flat {
				flats += flag(f)
			}
			mean, std := Moments(scaling.Totals(c.rewards()))
			got := map[string]float64{"reward": mean, "reward_std": std, "frac_reward_zero_std": flats / float64(len(flat)),
				"clip_ratio/low_mean": m.Low.Mean(), "clip_ratio/high_mean": m.High.Mean(), "clip_ratio/region_mean": m.Region.Mean(),
				"clip_ratio/low_min": m.LowMin, "clip_ratio/high_max": m.HighMax, "cispo_clip_ratio": m.CISPO.Mean(),
				"vespo/phi_seq_mean": m.Phi.Mean()}
			if c.Method == "GRPO" {
				got["kl"] = m.KL.Mean()
			}
			for name, want := range c.Metrics {
				if x, ok := got[name]; ok {
					near(t, name, x, want, 2e-6)
				}
			}
		})
	}
	for _, l := range grpoLosses {
		if !seen[l.key] || l.doc == "" {
			t.Errorf("%s has no case, or no source", l.key)
		}
	}
}

func (c *rolloutCase) into(t *testing.T, o interface{ Check() error }) {
	t.Helper()
	if err := json.Unmarshal(c.Settings, o); err != nil {
		t.Fatal(err)
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
}

// rolloutLosses are settings of every loss over rollouts; the values say that factors have no gradient.
func rolloutLosses() (out map[string]func([]Rollout, [][]float64) float64, detached map[string]bool) {
	out, detached = map[string]func([]Rollout, [][]float64) float64{}, map[string]bool{}
	for _, l := range grpoLosses {
		for _, level := range []string{"token", "sequence"} {
			for _, correct := range []bool{true, false} {
				for _, delta := range []float64{0, 1.1} {
					o := NewGRPO()
					o.LossType, o.ImportanceSampling, o.BiasCorrection = l.key, level, correct
					o.Delta, o.Beta, o.EpsilonHigh = delta, 0.3, 0.35
					o.TopEntropyQuantile = 0.8
					name := l.key + " " + level + map[bool]string{true: " corrected"}[correct] + map[bool]string{true: " delta"}[delta > 0]
					out[name], detached[name] = o.Loss, l.key == "cispo" || l.key == "vespo"
				}
			}
		}
	}
	o := NewRLOO()
	out["rloo"] = o.Loss
	return out, detached
}

// TestRolloutDerivatives compares derivatives with differences of the losses, at random log-probabilities. Of factors without a gradient
// the ratio is 1 in its own way: those losses are compared where the ratio is cut off, and so does not move.
func TestRolloutDerivatives(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var rows []Rollout
	for i := range 6 {
		a := Rollout{Advantage: []float64{1.2, -0.7, 0.4}[i%3], Length: 3.5}
		for range 2 + i {
			x := -1 - 2*r.Float64()
			a.LogP, a.Old = append(a.LogP, float32(x)), append(a.Old, float32(x+0.25*r.NormFloat64()))
			a.Ref, a.Entropy = append(a.Ref, float32(x+0.5*r.NormFloat64())), append(a.Entropy, r.Float32())
		}
		rows = append(rows, a)
	}
	losses, detached := rolloutLosses()
	for name, f := range losses {
		if detached[name] {
			continue
		}
		slopes := slopesOf(rows)
		f(rows, slopes)
		for i := range rows {
			for k := range rows[i].LogP {
				const h = 1.0 / 1024
				at := func(d float32) float64 {
					was := rows[i].LogP[k]
					rows[i].LogP[k] += d
					defer func() { rows[i].LogP[k] = was }()
					return f(rows, slopesOf(rows))
				}
				want, got := (at(h)-at(-h))/(2*h), slopes[i][k]
				if math.Abs(want-got) > 2e-3*max(1, math.Abs(want)) {
					t.Errorf("%s, answer %d, token %d: derivative %g, by differences %g", name, i, k, got, want)
				}
			}
		}
	}
	for key, weight := range map[string]float64{"cispo": 0.35, "vespo": 0} { // -w·A·log p, with w fixed
		o := NewGRPO()
		o.LossType, o.EpsilonHigh = key, 0.35
		for i := range rows {
			w := weight
			if key == "vespo" {
				w = o.phi(&rows[i])
			}
			slopes := slopesOf(rows)
			o.Loss(rows, slopes)
			for k, got := range slopes[i] {
				ratio := math.Exp(float64(rows[i].LogP[k]) - float64(rows[i].Old[k]))
				if key == "cispo" {
					w = min(ratio, weight)
				}
				if want := -w * rows[i].Advantage / rows[i].Length; math.Abs(want-got) > 1e-9 {
					t.Errorf("%s, answer %d, token %d: derivative %g, want %g", key, i, k, got, want)
				}
			}
		}
	}
	online := NewOnlineDPO()
	for _, l := range onlineLosses {
		online.LossType, online.Beta = l.key, 0.7
		at := func(c, r float64) float64 {
			x, _ := online.Pair(&Pair{Chosen: Answer{LogP: -3 + c, Ref: -3.4}, Rejected: Answer{LogP: -4 + r, Ref: -3.9}})
			return x
		}
		_, got := online.Pair(&Pair{Chosen: Answer{LogP: -3, Ref: -3.4}, Rejected: Answer{LogP: -4, Ref: -3.9}})
		if c, r := (at(1e-5, 0)-at(-1e-5, 0))/2e-5, (at(0, 1e-5)-at(0, -1e-5))/2e-5; math.Abs(c-got) > 1e-8 || math.Abs(r+got) > 1e-8 {
			t.Errorf("online dpo, %s: derivative %g, by differences %g and %g", l.key, got, c, r)
		}
	}
}

// TestRolloutEdges: an answer without a reward, a group of which one has one, an answer of which nothing counts.
func TestRolloutEdges(t *testing.T) {
	nan := math.NaN()
	s := NewScaling()
	s.NumGenerations = 2
	rewards := [][]float64{{nan}, {1}, {0}, {1}, {nan}, {nan}}
	got, flat := s.Advantages(rewards)
	if want := math.Sqrt(0.5) / (math.Sqrt(0.5) + 1e-4) * math.Sqrt(0.5); got[0] != 0 || got[1] != 0 || got[4] != 0 ||
		math.Abs(got[3]-want) > 1e-9 || got[2] != -got[3] || flat[2] {
		t.Errorf("advantages %v, %v", got, flat)
	}
	o := NewRLOO()
	o.Beta = 0
	if got, _ := o.Advantages(&s.Groups, rewards, nil); !slices.Equal(got, []float64{0, 0, -1, 1, 0, 0}) {
		t.Errorf("RLOO: advantages %v", got)
	}
	losses, _ := rolloutLosses()
	for name, f := range losses {
		rows := []Rollout{{Advantage: 1, Length: 2}, {LogP: []float32{-1}, Old: []float32{-1}, Ref: []float32{-1}, Entropy: []float32{1},
			Advantage: 1, Length: 2}}
		slopes := slopesOf(rows)
		if x := f(rows, slopes); math.IsNaN(x) || math.IsNaN(slopes[1][0]) || slopes[1][0] == 0 {
			t.Errorf("%s: loss %g, slope %g", name, x, slopes[1][0])
		}
	}
}

// TestRolloutSettings: what is wrong is named.
func TestRolloutSettings(t *testing.T) {
	grpo := func(set func(o *GRPO)) *GRPO {
		o := NewGRPO()
		set(&o)
		return &o
	}
	scaling := func(set func(o *Scaling)) *Scaling {
		o := NewScaling()
		set(&o)
		return &o
	}
	for want, o := range map[string]interface{ Check() error }{
		"loss_type is \"gspo\"; it must be one of grpo, bnpo, dr_grpo,": grpo(func(o *GRPO) { o.LossType = "gspo" }),
		"importance_sampling_level is \"row\"":                          grpo(func(o *GRPO) { o.ImportanceSampling = "row" }),
		"delta is -1":                                                   grpo(func(o *GRPO) { o.Delta = -1 }),
		"beta is -1":                                                    grpo(func(o *GRPO) { o.Beta = -1 }),
		"epsilon is 1.5; it must be from 0 to 1":                        grpo(func(o *GRPO) { o.Epsilon = 1.5 }),
		"epsilon_high is -1":                                            grpo(func(o *GRPO) { o.EpsilonHigh = -1 }),
		"top_entropy_quantile is 2":                                     grpo(func(o *GRPO) { o.TopEntropyQuantile = 2 }),
		"max_completion_length is 0":                                    grpo(func(o *GRPO) { o.MaxCompletionLength = 0 }),
		"sapo_temperature_pos is 0":                                     grpo(func(o *GRPO) { o.SAPOTemperaturePos = 0 }),
		"num_generations is 1: an answer is compared with others":       scaling(func(o *Scaling) { o.NumGenerations = 1 }),
		"scale_rewards is \"row\"; it must be group, batch or none":     scaling(func(o *Scaling) { o.ScaleRewards = "row" }),
		"multi_objective_aggregation is \"x\"":                          scaling(func(o *Scaling) { o.Aggregation = "x" }),
		"reward_clip_range must have the least and the largest":         &RLOO{RewardClipRange: []float64{1, 0}},
		"loss_type is \"hinge\"; it must be one of sigmoid, ipo":        &OnlineDPO{Beta: 1, LossType: "hinge"},
		"beta is 0; it must be above 0":                                 &OnlineDPO{LossType: "ipo"},
	} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
