package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
)

// inGraph is how many bytes of a job a graph has at most: one that names the source of each of many files lies beside its output.
const inGraph = 32 << 10

// beside is the folder of what is too large for the graph of the job with an output.
func beside(output string) string { return output + ".d" }

// Remove removes a job's output and what lies beside it.
func Remove(ctx context.Context, output string) error {
	if storage.IsLocal(output) {
		return errors.Join(os.RemoveAll(storage.Local(beside(output))), storage.Remove(output))
	}
	_, err := storage.RemoveTree(ctx, beside(output))
	return errors.Join(err, storage.Remove(output))
}

// reference is the JSON of a job that lies in a file.
type reference struct {
	File string `json:"file"`
	Run  string `json:"run"`
}

// text is what the graph has of a job.
func (j *Job) text(dry bool) (string, error) {
	raw, err := json.Marshal(j)
	if err != nil || len(raw) <= inGraph || j.Output == "" {
		return string(raw), err
	}
	r := reference{storage.Join(beside(j.Output), "job-"+storage.SHA256(raw)[:16]+".json"), j.Run}
	if !dry {
		if err := storage.WriteFile(r.File, raw); err != nil {
			return "", err
		}
	}
	raw, err = json.Marshal(r)
	return string(raw), err
}

// runOf is the run of what the graph has of a job.
func runOf(text string) (string, error) {
	var r reference
	err := json.Unmarshal([]byte(text), &r)
	return r.Run, err
}

// jobOf reads a job from what the graph has of it.
func jobOf(text string) (j Job, err error) {
	var r reference
	if err = json.Unmarshal([]byte(text), &r); err != nil {
		return j, err
	}
	raw := []byte(text)
	if r.File != "" {
		if raw, err = storage.ReadFile(r.File); err != nil {
			return j, err
		}
	}
	return j, json.Unmarshal(raw, &j)
}

func partOf(text string) (p measure.Part, err error) {
	err = json.Unmarshal([]byte(text), &p)
	return p, err
}
