package peft

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// TaskOf reads what the adapter in dir was trained for: its task_type (CAUSAL_LM where it names none), and of a classifier the number of
// classes.
func TaskOf(dir string) (task string, classes int, err error) {
	raw, err := readConfig(dir)
	if err != nil {
		return "", 0, err
	}
	var c struct {
		TaskType *string `json:"task_type"`
	}
	if err := decodeHead(dir, raw, &c); err != nil {
		return "", 0, err
	}
	if c.TaskType == nil || *c.TaskType != seqCls {
		return causalLM, 0, nil
	}
	path := storage.Join(dir, TensorFile)
	f, err := openTensors(dir)
	if err != nil {
		return "", 0, fmt.Errorf("peft: %w", err)
	}
	defer f.Close()
	info, ok := f.Info(prefix + "score.weight")
	if !ok || len(info.Shape) != 2 {
		return "", 0, fmt.Errorf("peft: %s: the adapter is a classifier's, but it has no tensor %q", path, prefix+"score.weight")
	}
	return seqCls, info.Shape[0], nil
}

// ClassNames reads the names of the classes, by number, from the config.json that a classifier's folder holds; nil where it holds none.
func ClassNames(dir string) ([]string, error) {
	path := storage.Join(dir, modelFile)
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	var c struct {
		Names map[string]string `json:"id2label"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", path, err)
	}
	out := make([]string, len(c.Names))
	for i := range out {
		name, ok := c.Names[strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("peft: %s: id2label has %d names, but none of the class %d", path, len(out), i)
		}
		out[i] = name
	}
	return out, nil
}
