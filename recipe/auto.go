package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Auto is the word by which a recipe leaves a setting to the model.
const Auto = "auto"

// The settings that take the word beside the values of their types; until the model is known they have their defaults. model.dtype has the
// word among its values.
const (
	KeyLearningRate  = "train.learning_rate"
	KeyChatTemplate  = "prepare.apply_chat_template"
	KeyLearningRates = "compare.learning_rates"
	KeyDType         = "model.dtype"
)

var autoKeys = []string{KeyLearningRate, KeyChatTemplate, KeyLearningRates}

// TakesAuto says whether a key takes the word [Auto] in place of a value of its type.
func TakesAuto(path string) bool { return slices.Contains(autoKeys, path) }

// Base is what a model says to settings that are left to it.
type Base struct {
	Parameters   int64
	ChatTemplate bool // it has one
}

// Choice is a setting that was chosen for a recipe, and why.
type Choice struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	Why   string `json:"why"`
}

// smallModel is the number of parameters below which a model is like those that templates have: their values hold for it.
const smallModel = 50_000_000

// sweep are the rates that a comparison tries, over LoRA's: methods want rates of other sizes, and each finds its own among these.
var sweep = []float64{0.5, 2.5, 10}

// Choose gives the settings that are left to the model their values.
func (r *Recipe) Choose(b Base) (out []Choice) {
	method, _ := r.Method["peft_type"].(string)
	rate, why := LearningRate(method, r.Train.Objective, r.Train.Optim, b.Parameters)
	for _, key := range autoKeys {
		if !slices.Contains(r.Auto, key) {
			continue
		}
		c := Choice{Key: key}
		if b.Parameters < smallModel && slices.Contains(r.Small, key) {
			c.Value, c.Why = r.field(key).Interface(), "the template's, for models as small as "+Count(b.Parameters)+" parameters"
			out = append(out, c)
			continue
		}
		switch key {
		case KeyLearningRate:
			r.Train.LearningRate = rate
			c.Value, c.Why = rate, why
		case KeyChatTemplate:
			r.Prepare.ApplyChatTemplate = b.ChatTemplate || r.Prepare.ChatTemplate != ""
			c.Value, c.Why = r.Prepare.ApplyChatTemplate, "the model has no chat template"
			if r.Prepare.ApplyChatTemplate {
				c.Why = "the model has a chat template"
			}
		case KeyLearningRates:
			lora, at := LearningRate("LORA", r.Train.Objective, r.Train.Optim, b.Parameters)
			r.Compare.LearningRates = []float64{}
			for _, s := range sweep {
				r.Compare.LearningRates = append(r.Compare.LearningRates, lora*s)
			}
			c.Value, c.Why = r.Compare.LearningRates, "around that of "+at
		}
		out = append(out, c)
	}
	r.Auto, r.Small = nil, nil
	return out
}

// Adopt gives the settings that are left to the model, model.dtype among them, the values of another resolved recipe: those with which a
// run was begun.
func (r *Recipe) Adopt(was *Recipe) {
	for _, key := range r.Auto {
		r.field(key).Set(was.field(key))
	}
	if r.Model.DType == Auto {
		r.Model.DType = was.Model.DType
	}
	r.Auto, r.Small = nil, nil
}

// LeaveToModel leaves to the model of a user's own what a template has for its own model, in a layer: settings that own does not name.
func LeaveToModel(l Layer, own func(path string) bool, objective bool) {
	put := func(path string) {
		section, key := split(path)
		if l[section] == nil {
			l[section] = map[string]any{}
		}
		if was, ok := l[section][key]; ok && TakesAuto(path) {
			l[section][key] = forSmall{was}
			return
		}
		l[section][key] = Auto
	}
	if !own(KeyLearningRate) {
		put(KeyLearningRate)
		if _, ok := l["compare"]["learning_rates"]; ok && !own(KeyLearningRates) {
			put(KeyLearningRates)
		}
	}
	if !own(KeyDType) {
		put(KeyDType)
	}
	if objective && !own(KeyChatTemplate) {
		put(KeyChatTemplate)
	}
}

// forSmall is a template's value, which holds for small models; others decide.
type forSmall struct{ value any }

// takeAuto takes the word out of merged layers, puts the defaults in its place, or what holds for small models, and lists the keys that had
// it.
func (l Layer) takeAuto(defaults Layer) (keys, small []string) {
	for _, path := range autoKeys {
		section, key := split(path)
		switch v := l[section][key].(type) {
		case forSmall:
			l[section][key] = v.value
			keys, small = append(keys, path), append(small, path)
		case string:
			if v == Auto {
				l[section][key] = defaults[section][key]
				keys = append(keys, path)
			}
		}
	}
	return keys, small
}

// withoutAuto puts a value of the key's type in the place of the word, so that a document can be read into the types.
func withoutAuto(body ast.Node) {
	for _, path := range autoKeys {
		section, key := split(path)
		stands := map[string]string{"number": "0", "boolean": "false", "list": "[]"}[find(path).Type]
		for _, e := range pairs(body) {
			if e.Key.GetToken().Value != section {
				continue
			}
			for _, k := range pairs(e.Value) {
				if k.Key.GetToken().Value == key && k.Value.GetToken().Value == Auto {
					f, err := parser.ParseBytes([]byte(stands), 0)
					if err != nil {
						panic(err)
					}
					k.Value = f.Docs[0].Body
				}
			}
		}
	}
}

// pairs are the entries of a mapping; none of another node.
func pairs(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// String is a line for people, as "learning_rate 5e-4: LORA at 135M parameters".
func (c Choice) String() string {
	_, name := split(c.Key)
	value := fmt.Sprint(c.Value)
	if x, ok := c.Value.(float64); ok {
		value = rateText(x)
	}
	if xs, ok := c.Value.([]float64); ok {
		value = ""
		for i, x := range xs {
			if i > 0 {
				value += ", "
			}
			value += rateText(x)
		}
	}
	return fmt.Sprintf("%s %s: %s", name, value, c.Why)
}

// rateText writes a learning rate as people do, as 5e-4.
func rateText(x float64) string {
	return strings.Replace(strconv.FormatFloat(x, 'e', -1, 64), "e-0", "e-", 1)
}
