package peft_test

import (
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

const exampleBase = "../model/testdata/models/llama_gqa" // a folder of Hugging Face's

// savedLora attaches a new LoRA adapter to a base model, which a training would change, and saves it.
func savedLora(m *model.Model, dir string, config map[string]any) {
	lora, err := peft.New("LORA", config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, BaseModel: exampleBase, Seed: 42})
	if err != nil {
		log.Fatal(err)
	}
	params, err := lora.NewParams(1)
	if err != nil {
		log.Fatal(err)
	}
	defer params.Free()
	if err := lora.Save(dir, params, 0, peft.Card{}); err != nil {
		log.Fatal(err)
	}
}

// An adapter is a method and a configuration with Hugging Face PEFT's field names, attached to a base model.
func ExampleNew() {
	m, err := model.Load(exampleBase)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	config := map[string]any{"r": 4, "target_modules": []string{"q_proj", "v_proj"}}
	lora, err := peft.New("LORA", config, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, Seed: 42})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lora.Trainable(), "parameters, the first of", lora.TargetedModules()[0])
	_, err = peft.New("LORA", map[string]any{"rank": 4}, nn.Sites(m), peft.Env{})
	fmt.Println(err)
	// Output:
	// 1792 parameters, the first of model.layers.0.self_attn.q_proj
	// peft: LORA: unknown field "rank" = 4; the nearest known one is "r"
}

// A folder that PEFT wrote, or Save, is opened for the base model that it was made for.
func ExampleOpen() {
	m, err := model.Load(exampleBase)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	dir, err := os.MkdirTemp("", "peft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	savedLora(m, filepath.Join(dir, "lora"), map[string]any{"r": 4, "target_modules": []string{"q_proj"}})

	a, err := peft.Open(filepath.Join(dir, "lora"), nn.Sites(m), peft.Env{BaseModel: exampleBase})
	if err != nil {
		log.Fatal(err)
	}
	params, err := a.NewParams(1) // with the folder's values, to compile programs with
	if err != nil {
		log.Fatal(err)
	}
	defer params.Free()
	base, err := peft.BaseOf(filepath.Join(dir, "lora"))
	fmt.Println(a.Type(), "of", filepath.Base(base), "with", len(params.List()), "tensors", err)
	// Output: LORA of llama_gqa with 4 tensors <nil>
}

// Merging gives the tensors of the base that an adapter changes, which make a model that needs no adapter.
func ExampleAdapter_Merge() {
	m, err := model.Load(exampleBase)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	config := map[string]any{"r": 4, "target_modules": []string{"q_proj"}, "layers_to_transform": []int{0}, "init_lora_weights": false}
	lora, err := peft.New("LORA", config, nn.Sites(m), peft.Env{Seed: 42}) // which does not start without an effect
	if err != nil {
		log.Fatal(err)
	}
	params, err := lora.NewParams(1)
	if err != nil {
		log.Fatal(err)
	}
	defer params.Free()
	merged, err := lora.Merge(params, 0, m.Tensor)
	if err != nil {
		log.Fatal(err)
	}
	for name, w := range merged {
		before, err := m.Tensor(name)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(name, len(w), "values, changed:", w[0] != before[0])
	}
	dir, err := os.MkdirTemp("", "merged")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fmt.Println(m.Save(filepath.Join(dir, "merged"), "", merged))
	// Output:
	// model.layers.0.self_attn.q_proj.weight 4096 values, changed: true
	// <nil>
}

// Two LoRA adapters become one, as PEFT's add_weighted_adapter does it: here its effect is the weighted sum of theirs.
func ExampleCombine() {
	m, err := model.Load(exampleBase)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	dir, err := os.MkdirTemp("", "peft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var adapters []*peft.Adapter
	for i, target := range [][]string{{"q_proj"}, {"q_proj", "v_proj"}} {
		folder := filepath.Join(dir, fmt.Sprint(i))
		savedLora(m, folder, map[string]any{"r": 2 + 2*i, "target_modules": target, "init_lora_weights": false})
		a, err := peft.Open(folder, nn.Sites(m), peft.Env{})
		if err != nil {
			log.Fatal(err)
		}
		adapters = append(adapters, a)
	}
	both, err := peft.Combine(adapters, peft.Combination{Type: "cat", Weights: []float64{0.75, -0.25}})
	if err != nil {
		log.Fatal(err)
	}
	change := func(a *peft.Adapter) float32 { // of one value of a weight
		const name = "model.layers.0.self_attn.q_proj.weight"
		params, err := a.NewParams(1)
		if err != nil {
			log.Fatal(err)
		}
		defer params.Free()
		merged, err := a.Merge(params, 0, m.Tensor)
		if err != nil {
			log.Fatal(err)
		}
		w, err := m.Tensor(name)
		if err != nil {
			log.Fatal(err)
		}
		return merged[name][0] - w[0]
	}
	sum := 0.75*change(adapters[0]) - 0.25*change(adapters[1])
	fmt.Println(len(both.Targets()), "modules, the weighted sum:", math.Abs(float64(change(both)-sum)) < 1e-6)
	// Output: 4 modules, the weighted sum: true
}
