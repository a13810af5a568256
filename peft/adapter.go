package peft

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// Adapter is a method attached to the sites of one base model. It is an nn.Adapter, to compile programs with.
type Adapter struct {
	Method
	env    Env
	sites  []nn.Site
	loaded map[string][]float32 // by parameter name, of an opened folder
	kept   []Frozen             // the base's embedding and head of an opened folder
	dir    string
	scope  string // name in a Set, which begins the parameters' names
}

// New makes an adapter of the type peftType ("LORA", in any case) with HF's field names in config and attaches it to
// the sites. Fields that config does not name have HF's defaults.
func New(peftType string, config map[string]any, sites []nn.Site, env Env) (*Adapter, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("peft: %s: the configuration cannot be encoded: %w", peftType, err)
	}
	if config == nil {
		raw = []byte("{}")
	}
	return build(peftType, raw, sites, env, nil)
}

// build makes an adapter; shapes are those of an opened folder's tensors, nil without one.
func build(peftType string, raw []byte, sites []nn.Site, env Env, shapes func(key string) []int) (*Adapter, error) {
	row, err := find(peftType)
	if err != nil {
		return nil, err
	}
	m := row.New()
	if d, ok := m.(interface{ defaults(raw []byte) error }); ok {
		if err := d.defaults(raw); err != nil {
			return nil, err
		}
	}
	c := commonOf(m)
	if c.PeftType == "" { // the row says it
		c.PeftType = row.Type
	}
	if _, err := decodeConfig(row.Type, raw, m.Config(), unusedOf(m), shapes != nil); err != nil {
		return nil, err
	}
	if !strings.EqualFold(c.PeftType, row.Type) {
		return nil, fmt.Errorf("peft: the method is %s, but its configuration says peft_type %q", row.Type, c.PeftType)
	}
	task := taskOf(sites)
	switch {
	case c.TaskType == nil:
		if task == seqCls {
			c.TaskType = &task
		}
	case *c.TaskType != causalLM && *c.TaskType != seqCls:
		return nil, fmt.Errorf("peft: %s: task_type %q: adaptflow has %s and %s", row.Type, *c.TaskType, causalLM, seqCls)
	case *c.TaskType != task:
		return nil, fmt.Errorf("peft: %s: task_type is %s, but the model was opened with the head of %s; open it for the adapter's task",
			row.Type, *c.TaskType, task)
	}
	if task == seqCls && hasField(m.Config(), "modules_to_save") { // HF trains the head of classes whatever the method
		save := fieldOf[[]string](m.Config(), "modules_to_save")
		for _, name := range classifierNames {
			if !slices.Contains(save, name) {
				save = append(slices.Clone(save), name)
			}
		}
		setField(m.Config(), "modules_to_save", save)
	}
	c.PeftType = row.Type
	if !env.Tied {
		env.Tied = sharedHead(sites)
	}
	if s, ok := m.(shaped); ok && shapes != nil {
		s.shapes(shapes)
	}
	if r, ok := m.(interface {
		replicated([]nn.Site) ([]nn.Site, error)
	}); ok {
		var err error
		if sites, err = r.replicated(sites); err != nil {
			return nil, err
		}
	}
	given := fieldOf[Names](m.Config(), "target_modules") // Attach writes the names that it finds
	if err := m.Attach(sites, env); err != nil {
		return nil, err
	}
	if shapes == nil {
		if err := unmatched(m, given, sites); err != nil {
			return nil, err
		}
	}
	if err := checkParams(m); err != nil {
		return nil, err
	}
	return &Adapter{Method: m, env: env, sites: sites}, nil
}

func unusedOf(m Method) map[string]any {
	if u, ok := m.(interface{ unused() map[string]any }); ok {
		return u.unused()
	}
	return nil
}

// sharedHead says whether the head and the embedding hold the same weight.
func sharedHead(sites []nn.Site) bool {
	var e quant.Weight
	for _, s := range sites {
		l, _ := layoutOf(s.Op)
		switch {
		case s.Kind == nn.KindHead:
			return l.W != nil && e == l.W
		case e == nil && l.Lookup && l.Vocab:
			e = l.W
		}
	}
	return false
}

// The task types.
const (
	causalLM = "CAUSAL_LM"
	seqCls   = "SEQ_CLS"
)

// classifierNames are the modules that HF trains in a classifier, where the model has them.
var classifierNames = []string{"classifier", "score"}

// taskOf is the task_type of a model with these sites.
func taskOf(sites []nn.Site) string {
	for _, s := range sites {
		if s.Kind == nn.KindHead && s.Name == "score" {
			return seqCls
		}
	}
	return causalLM
}

// checkParams makes sure that names and keys are unique.
func checkParams(m Method) error {
	names, keys := map[string]bool{}, map[string]bool{}
	for _, p := range m.Params() {
		if names[p.Name] || p.Key != "" && keys[p.Key] {
			return fmt.Errorf("peft: %s: two settings of the configuration train %s; name the module in only one of target_modules, "+
				"modules_to_save, trainable_token_indices and bias", m.Type(), p.Key)
		}
		names[p.Name], keys[p.Key] = true, true
	}
	if len(names) == 0 {
		return fmt.Errorf("peft: %s: the configuration trains nothing", m.Type())
	}
	return nil
}

// Layers implements nn.Replicator: a method may run blocks of the base more than once.
func (a *Adapter) Layers(n int) []int {
	if r, ok := a.Method.(nn.Replicator); ok {
		return r.Layers(n)
	}
	return nil
}

// Trainable is the number of trainable values of one slot.
func (a *Adapter) Trainable() int {
	n := 0
	for _, p := range a.Params() {
		n += p.Size()
	}
	return n
}

// Total is the number of values of base and adapter together, where the base has so many: as PEFT's print_trainable_parameters counts them,
// but that what full fine-tuning trains is the base itself.
func (a *Adapter) Total(base int64) int64 {
	if _, own := a.Method.(*full); own {
		return base
	}
	return base + int64(a.Trainable())
}

// Prompt implements nn.Prompter: the zero Prompt where the method has no virtual tokens.
func (a *Adapter) Prompt() nn.Prompt {
	if p, ok := a.Method.(Prompter); ok {
		return p.Prompt()
	}
	return nn.Prompt{}
}

// TargetedModules lists the full names of the adapted modules.
func (a *Adapter) TargetedModules() []string { return a.Targets() }

// StateNames maps each parameter's name to its key in adapter_model.safetensors.
func (a *Adapter) StateNames() map[string]string {
	m := make(map[string]string, len(a.Params()))
	for _, p := range a.Params() {
		if p.Key != "" {
			m[p.Name] = p.Key
		}
	}
	return m
}

// paramName is the name of the adapter's parameter in programs.
func (a *Adapter) paramName(p *Param) string {
	if a.scope != "" {
		return a.scope + ":" + p.Name
	}
	return p.Name
}

// NewParams makes the adapter's parameters with their starting values in each slot, as a program compiled with the adapter makes them. It
// fails where the memory has no room for them. The caller frees them.
func (a *Adapter) NewParams(slots int) (_ *nn.Params, err error) {
	params := nn.NewParams(slots)
	defer func() {
		if err != nil {
			params.Free()
		}
	}()
	defer mem.Catch(&err, "adapt fewer modules or lower the rank")
	for _, p := range a.Params() {
		params.Add(a.paramName(p), p.Rows, p.Cols, p.Init)
	}
	return params, nil
}

// values reads one slot of the adapter's parameter out of params. It fails when neither NewParams nor a program with this adapter has made
// the parameter, or when it has another shape.
func (a *Adapter) values(params *nn.Params, p *Param, slot int) ([]float32, error) {
	q := params.Get(a.paramName(p))
	switch {
	case q == nil:
		return nil, fmt.Errorf("peft: parameter %s does not exist; make it with NewParams or compile a program with the adapter first",
			p.Name)
	case q.Rows != p.Rows || q.Cols != p.Cols:
		return nil, fmt.Errorf("peft: parameter %s is [%d, %d], the adapter's is [%d, %d]", p.Name, q.Rows, q.Cols, p.Rows, p.Cols)
	case slot < 0 || slot >= q.Slots:
		return nil, fmt.Errorf("peft: slot %d of parameter %s, which has %d", slot, p.Name, q.Slots)
	}
	return q.Slot(slot), nil
}

// Load copies the values of an opened folder into every slot of params, whose parameters a program compiled with the
// adapter has made. Parameters that are new to params start from them in any case; Load is for those that are not.
func (a *Adapter) Load(params *nn.Params) error {
	for i := range params.Slots() {
		if err := a.LoadSlot(params, i); err != nil {
			return err
		}
	}
	return nil
}

// LoadSlot copies the values of an opened folder into one slot of params.
func (a *Adapter) LoadSlot(params *nn.Params, slot int) error {
	if a.loaded == nil {
		return fmt.Errorf("peft: Load needs an adapter that was opened from a folder")
	}
	for _, p := range a.Params() {
		dst, err := a.values(params, p, slot)
		if err != nil {
			return err
		}
		copy(dst, a.loaded[p.Name])
	}
	return nil
}

// Initial fills one slot of params with the adapter's starting values.
func (a *Adapter) Initial(params *nn.Params, slot int) error {
	for _, p := range a.Params() {
		dst, err := a.values(params, p, slot)
		if err != nil {
			return err
		}
		clear(dst)
		p.Init(dst)
	}
	return nil
}

// Mergeable says why the adapter cannot be merged into the base model, and what to do instead; nil where its method can be.
func (a *Adapter) Mergeable() error {
	if _, ok := a.Method.(Merger); !ok {
		return fmt.Errorf("peft: a %s adapter cannot be merged into the base model; keep its folder beside the base (adaptflow export) "+
			"and load it there", a.Type())
	}
	return nil
}
