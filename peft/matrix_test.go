package peft_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// matrixStorages are the bases of the matrix: the dtype of what the backward pass reads follows the first part. all are those of
// ADAPTFLOW_MATRIX=all; without it every pair of method and family, of method and storage, and of family and storage occurs.
var matrixStorages, matrixAll = []string{"float32", "bfloat16", "float32+nf4"},
	[]string{"float32", "bfloat16", "float32+nf4", "bfloat16+nf4", "float32+nf4_dq", "float32+fp4"}

// matrixRefusals are the reasons for which a method may decline a family; any other error fails the test. Each is what HF PEFT refuses, or
// cannot do with the shapes of these models.
var matrixRefusals = []string{
	"Conv1D",  // the reference wraps no Conv1D with this method
	"divi",    // a block size or rank that does not divide a dimension of this model
	"no bias", // BitFit of a model without biases
	"trains nothing",
	"sliding window",            // prefix tuning, whose prefix HF PEFT hides beyond the window
	"the base model is of type", // LLaMA-Adapter is for llama and mistral
	"matches no",                // the method's only targets are modules that this family does not have
	"target_modules must be given",
}

// TestMethodMatrix crosses methods × families × storages and compares the gradient of each with the loss along it. ADAPTFLOW_MATRIX=all
// takes the whole product, otherwise the storages take turns so that every pair occurs.
func TestMethodMatrix(t *testing.T) {
	root := filepath.Join("..", "model", "testdata", "models")
	if p := os.Getenv("ADAPTFLOW_GOLDEN"); p != "" {
		root = filepath.Join(golden.Resolve(t, p), "models")
	}
	all := os.Getenv("ADAPTFLOW_MATRIX") == "all"
	families := map[string]string{} // by model_type, the first folder
	for _, dir := range golden.Dirs(t, root) {
		c := golden.JSON[struct {
			Type          string `json:"model_type"`
			Architectures []string
		}](t, filepath.Join(root, dir, "config.json"))
		if _, ok := families[c.Type]; !ok && len(c.Architectures) == 1 && slices.Contains(model.Architectures(), c.Architectures[0]) {
			families[c.Type] = dir
		}
	}
	cases := map[string]methodCase{} // one a method: the first by name
	for _, name := range slices.Sorted(maps.Keys(methodCases(t))) {
		c := methodCases(t)[name]
		if typ := c.Config["peft_type"].(string); cases[typ].Config == nil {
			cases[typ] = c
		}
	}
	kinds := slices.Sorted(maps.Keys(families))
	ran, declined := 0, map[string][]string{}
	var lines []string
	for i, r := range peft.Methods {
		c, ok := cases[r.Type]
		if !ok {
			continue // methodCases has said so
		}
		line := fmt.Sprintf("%-24s", r.Type)
		for j, kind := range kinds {
			storages := matrixStorages[(i+j)%len(matrixStorages):][:1]
			if testing.Short() && (i+j)%4 != 0 {
				continue
			}
			if all {
				storages = matrixAll
			}
			mark := ""
			for _, storage := range storages {
				name := r.Type + "/" + kind + "/" + storage
				reason := ""
				t.Run(name, func(t *testing.T) { reason = matrixCase(t, c, filepath.Join(root, families[kind]), storage) })
				if reason != "" {
					declined[reason] = append(declined[reason], r.Type+"/"+kind)
					mark += "-"
					continue
				}
				ran++
				mark += map[string]string{"float32": "f", "bfloat16": "b"}[storage]
				if strings.Contains(storage, "+") {
					mark += "q"
				}
			}
			line += fmt.Sprintf(" %s:%s", kind, mark)
		}
		lines = append(lines, line)
	}
	t.Logf("matrix of %d methods, %d families: %d cases ran; f float32, b bfloat16, q quantised base, - declined\n%s", len(peft.Methods),
		len(kinds), ran, strings.Join(lines, "\n"))
	for _, reason := range slices.Sorted(maps.Keys(declined)) {
		t.Logf("declined: %s: %s", reason, strings.Join(slices.Compact(declined[reason]), ", "))
	}
}

// matrixCase checks one method on one base. It returns why the method declines the base, or "".
func matrixCase(t *testing.T, c methodCase, dir, storage string) string {
	grads, loss, declined := matrixGradient(t, c, dir, storage, storage == "float32" || strings.HasPrefix(storage, "float32+"))
	if declined != "" || t.Failed() {
		return declined
	}
	rest, half := strings.CutPrefix(storage, "bfloat16")
	if !half {
		return ""
	}
	// The loss in bfloat16 has steps of its own, so the gradient is compared with that over the same base in float32.
	want, wantLoss, _ := matrixGradient(t, c, dir, "float32"+rest, false)
	dot, a, b := 0.0, 0.0, 0.0
	for i, g := range grads {
		dot, a, b = dot+float64(g)*float64(want[i]), a+float64(g)*float64(g), b+float64(want[i])*float64(want[i])
	}
	if cos := dot / math.Sqrt(a*b); !(cos > 0.97) {
		t.Errorf("the cosine of the gradients in bfloat16 and float32 is %.4f", cos)
	}
	if r := math.Sqrt(a / b); !(r > 0.9 && r < 1.1) {
		t.Errorf("the gradient's norm in bfloat16 is %.3f times that in float32", r)
	}
	if math.Abs(loss-wantLoss) > 0.05 {
		t.Errorf("the loss is %.4f in bfloat16, %.4f in float32", loss, wantLoss)
	}
	return ""
}

// matrixGradient is the gradient of the mean loss at the method's start, nudged, and the loss; check compares it with the loss along it.
// declined is why the method takes no such base.
func matrixGradient(t *testing.T, c methodCase, dir, storage string, check bool) (grads []float32, value float64, declined string) {
	t.Helper()
	m, err := model.LoadAs(dir, storage)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, declined := c.attachAny(t, m)
	if declined != "" {
		for _, r := range matrixRefusals {
			if strings.Contains(declined, r) {
				return nil, 0, r
			}
		}
		t.Fatal(declined)
	}
	dtype := nn.Float32
	if strings.HasPrefix(storage, "bfloat16") {
		dtype = nn.BFloat16
	}
	params := nn.NewParams(1)
	defer params.Free()
	s := packed(9, 1, 12)
	p, err := nn.Compile(m, []nn.Adapter{a}, params,
		nn.Options{Mode: nn.ModeTrain, DType: dtype, Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: len(s.Docs)},
			Seed: 5, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	nudge(params)
	coef := make([]float32, len(p.Forward(s, true))) // CPT supervises its context too
	for i := range coef {
		coef[i] = -1 / float32(len(coef))
	}
	loss := func() float64 {
		sum := 0.0
		for _, v := range p.Forward(s, true) {
			sum -= float64(v)
		}
		return sum / float64(len(coef))
	}
	if value = loss(); math.IsNaN(value) || math.IsInf(value, 0) {
		t.Fatalf("the loss is %g", value)
	}
	params.ZeroGrad()
	p.Backward(coef)
	norm := 0.0
	for _, q := range params.List() {
		for _, g := range q.Grad {
			norm += float64(g) * float64(g)
		}
		grads = append(grads, q.Grad...)
	}
	if norm = math.Sqrt(norm); !(norm > 0) || math.IsInf(norm, 0) {
		t.Fatalf("the norm of the gradient is %g", norm)
	}
	if !check {
		return grads, value, ""
	}
	// Along the gradient's direction the loss changes by the gradient's norm.
	start := make([][]float32, len(params.List()))
	for k, q := range params.List() {
		start[k] = slices.Clone(q.Data)
	}
	move := func(by float64) float64 {
		for k, q := range params.List() {
			for i, g := range q.Grad {
				q.Data[i] = start[k][i] + float32(by*float64(g)/norm)
			}
		}
		return loss()
	}
	// The step is as small as float32 allows: a smaller one is tried where the loss bends.
	near, got := math.Inf(1), 0.0
	for _, h := range []float64{2e-3, 5e-4, 1e-4} {
		h /= max(norm, 1)
		g := (move(h) - move(-h)) / (2 * h)
		if d := math.Abs(g-norm) / norm; d < near {
			near, got = d, g
		}
	}
	if !(near <= 0.02) {
		t.Errorf("along the gradient the loss changes by %g, the gradient's norm is %g", got, norm)
	}
	return grads, value, ""
}

// attachAny attaches the case's method to a base of any family; declined is the method's error where it takes no such base.
func (c methodCase) attachAny(t *testing.T, m *model.Model) (a *peft.Adapter, declined string) {
	t.Helper()
	sites := nn.Sites(m)
	config := maps.Clone(c.Config)
	env := peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Seed: 3, Tied: m.Config.Tied}
	// The case names the modules of its own family: the method's defaults for this one, or else all linear layers, take their place.
	delete(config, "feedforward_modules")
	delete(config, "exclude_modules")
	delete(config, "layers_to_transform")
	delete(config, "target_modules")
	a, err := peft.New(config["peft_type"].(string), config, sites, env)
	if err != nil {
		config["target_modules"] = "all-linear"
		if strings.Contains(err.Error(), "feedforward_modules must be given") {
			config["feedforward_modules"] = []string{}
		}
		var again error
		if a, again = peft.New(config["peft_type"].(string), config, sites, env); again == nil {
			err = nil
		} else if m := again.Error(); !strings.Contains(m, "unknown field") && !strings.Contains(m, "matches no") &&
			!strings.Contains(m, "field target_modules") {
			err = again // the others adapt no linear layers
		}
	}
	if err != nil {
		return nil, err.Error()
	}
	return a, ""
}

// nudge moves the parameters a little from their start, where many methods have gradients of zero.
func nudge(params *nn.Params) {
	for k, q := range params.List() {
		for i := range q.Data {
			q.Data[i] += float32(math.Sin(float64(i*7+k*31)) * 0.02)
		}
	}
}
