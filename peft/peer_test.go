package peft_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestPeerFolders trains for each case of testdata/methods that HF PEFT has, and writes into the folder that ADAPTFLOW_PEER names the
// adapter NAME/adapter, what it computes, NAME/peer.safetensors (input_ids [B, T], logits [B, T, V]), and NAME/peer.json.
// interop/methods_check.py compares HF PEFT with them. Methods whose folder is AdapterHub's go to the folder of ADAPTFLOW_PEER_ADAPTERS,
// for interop/adapters_check.py.
func TestPeerFolders(t *testing.T) {
	hf, hub := os.Getenv("ADAPTFLOW_PEER"), os.Getenv("ADAPTFLOW_PEER_ADAPTERS")
	if hf == "" {
		t.Skip("ADAPTFLOW_PEER names no folder to write to")
	}
	const rows, length = 2, 12
	for name, c := range methodCases(t) {
		out := hf
		if c.Own {
			if out = hub; out == "" || c.Config["peft_type"] != "BOTTLENECK" {
				continue
			}
		}
		t.Run(name, func(t *testing.T) {
			m, _, a := c.build(t, nil)
			ids := make([]int64, rows*length)
			for i := range ids {
				ids[i] = int64(3 + i*37%250)
			}
			if tokens, ok := c.Config["alora_invocation_tokens"].([]any); ok { // aLoRA acts from these on
				for r := range rows {
					for i, v := range tokens {
						ids[r*length+4+i] = int64(v.(float64))
					}
				}
			}
			s, _ := nn.FromBatch(ids, nil, nil, rows, length)
			params := nn.NewParams(1)
			defer params.Free()
			p := compileFor(t, m, a, params, nn.ModeLogits, s)
			trainSome(t, m, a, params, ids, rows, length)
			logits := slices.Clone(p.Forward(s, false))
			dir := filepath.Join(out, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := a.Save(filepath.Join(dir, "adapter"), params, 0, peft.Card{}); err != nil {
				t.Fatal(err)
			}
			var raw []byte
			for _, v := range ids {
				raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
			}
			ts := []safetensors.Tensor{{Name: "input_ids", DType: "I64", Shape: []int{rows, length}, Raw: raw},
				safetensors.F32("logits", logits, rows, length, len(logits)/(rows*length))}
			for _, module := range a.Targets() { // what PSOFT decomposed, whose signs no folder holds
				if left, right, r, ok := peft.Principal(a, module); ok {
					ts = append(ts, safetensors.F32("psoft_A."+module, left, r, len(left)/r),
						safetensors.F32("psoft_B."+module, right, len(right)/r, r))
				}
			}
			if err := safetensors.Write(filepath.Join(dir, "peer.safetensors"), ts, nil); err != nil {
				t.Fatal(err)
			}
			at, err := filepath.Abs(filepath.Join("..", "model", "testdata", "models", c.Base))
			if err != nil {
				t.Fatal(err)
			}
			about, err := json.Marshal(map[string]string{"base": at, "peft_type": a.Type()})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "peer.json"), about, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// trainSome trains for five steps, each along the gradient scaled to its largest value, with what the method does beside.
func trainSome(t *testing.T, m nn.Wiring, a *peft.Adapter, params *nn.Params, ids []int64, rows, length int) {
	t.Helper()
	const steps = 5
	s, _ := nn.FromBatch(ids, nil, ids, rows, length)
	p := compileFor(t, m, a, params, nn.ModeTrain, s)
	coef := make([]float32, p.Supervised(s)) // CPT supervises its context too
	for i := range coef {
		coef[i] = -1 / float32(len(coef))
	}
	for step := range steps {
		s.Index = uint64(step)
		params.ZeroGrad()
		p.Forward(s, true)
		p.Backward(coef)
		if r, ok := a.Method.(peft.Regulariser); ok {
			r.Regularise(params, 0)
		}
		for _, q := range params.List() {
			top := 1e-12
			for _, g := range q.Grad {
				top = max(top, math.Abs(float64(g)))
			}
			for i, g := range q.Grad {
				q.Data[i] -= float32(0.05 * float64(g) / top)
			}
		}
		if st, ok := a.Method.(peft.Stepper); ok {
			if err := st.Step(params, 0, step, steps); err != nil {
				t.Fatal(err)
			}
		}
	}
}
