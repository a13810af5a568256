package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

const (
	weights = "model.safetensors"
	index   = "model.safetensors.index.json"
)

// side are the files beside the weights that a model may have and adaptflow reads.
var side = []string{"added_tokens.json", "chat_template.jinja", "config.json", "generation_config.json", "merges.txt",
	"special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json"}

var shard = regexp.MustCompile(`^model-\d{5}-of-\d{5}\.safetensors$`)

// Snapshot returns the folder of the model ref (org/name or org/name@revision) in the cache, after downloading what is missing of it:
// config.json, the tokenizer and the weights in safetensors. A commit that is whole in the cache is not asked for again. When the hub
// cannot be reached, what the cache holds of the revision is used; with Offline nothing else is. What is used has the checksum that it came
// with: a file that was damaged since is downloaded again, or named.
func (c *Client) Snapshot(ctx context.Context, ref string) (dir string, err error) {
	if !Is(ref) {
		return "", fmt.Errorf("%q is not the name of a model on the hub: it is org/name, or org/name@revision", ref)
	}
	repo, revision, ok := strings.Cut(ref, "@")
	if !ok {
		revision = "main"
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", ref, err)
		}
	}()
	root := filepath.Join(c.Cache, "models--"+strings.ReplaceAll(repo, "/", "--"))
	cached := c.cached(root, revision)
	var bad error
	if cached != "" && (c.Offline || commitName.MatchString(revision)) {
		if bad = damaged(root, cached); bad == nil {
			return cached, nil
		}
	}
	switch {
	case c.Offline && bad != nil:
		return "", fmt.Errorf("%w (HF_HUB_OFFLINE is set)", bad)
	case c.Offline:
		return "", fmt.Errorf("%w: HF_HUB_OFFLINE is set and %s does not hold the model; unset it to download, or on a machine with a "+
			"network "+
			"run `huggingface-cli download %s` and copy its folder %s here, or name a folder of the model", ErrOffline, c.Cache, repo,
			filepath.Base(root))
	}
	l, err := c.list(ctx, repo, revision)
	var status *StatusError
	if err != nil {
		if errors.As(err, &status) && !passing(err) || ctx.Err() != nil {
			return "", err
		}
		if cached != "" {
			if bad = damaged(root, cached); bad == nil {
				return cached, nil
			}
			return "", fmt.Errorf("%w; it was not downloaded again, since the hub is not reached: %w", bad, err)
		}
		return "", fmt.Errorf("%w at %s: %w; check the network (HTTPS_PROXY) or HF_ENDPOINT, or on a machine with a network run "+
			"`huggingface-cli download %s` and copy its folder to %s, or name a folder of the model", ErrOffline,
			c.where(), err, repo, root)
	}
	dir = filepath.Join(root, "snapshots", l.SHA)
	files, err := choose(l)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		bad := check(root, dir, f, true)
		if bad == nil {
			continue
		}
		if err := c.fetch(ctx, repo, root, l.SHA, f); err != nil {
			if !errors.Is(bad, errMissing) {
				err = fmt.Errorf("%w; it is wanted since %w", err, bad)
			}
			return "", fmt.Errorf("%s: %w", f, err)
		}
	}
	if missing := incomplete(dir); missing != "" {
		return "", fmt.Errorf("the model's files do not belong together: its index names %s, which it does not have", missing)
	}
	if revision == l.SHA {
		return dir, nil
	}
	at := filepath.Join(root, "refs", filepath.FromSlash(revision))
	if raw, err := storage.ReadSmall(at, storage.KindNote); err == nil && strings.TrimSpace(string(raw)) == l.SHA {
		return dir, nil // also in a cache that is read only
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return "", err
	}
	return dir, storage.WriteShared(at, []byte(l.SHA))
}

// choose picks the files of a model that are wanted, sorted, the small ones first.
func choose(l listing) ([]string, error) {
	var all, files, shards []string
	for _, s := range l.Siblings {
		all = append(all, s.Name)
		if slices.Contains(side, s.Name) {
			files = append(files, s.Name)
		}
		if shard.MatchString(s.Name) {
			shards = append(shards, s.Name)
		}
	}
	slices.Sort(files)
	slices.Sort(shards)
	switch {
	case !slices.Contains(all, "config.json"):
		return nil, fmt.Errorf("it has no config.json, so it is not a model of Hugging Face transformers (an adapter, or another format?)")
	case slices.Contains(all, weights):
		return append(files, weights), nil
	case slices.Contains(all, index):
		return append(append(files, index), shards...), nil
	}
	return nil, fmt.Errorf("it has no %s and no %s; adaptflow reads no other format (such as pytorch_model.bin): look for a revision with "+
		"safetensors, or convert it with transformers' save_pretrained and name the folder", weights, index)
}

// cached returns the folder of a revision that is whole in the cache, or "".
func (c *Client) cached(root, revision string) string {
	commit := revision
	if !commitName.MatchString(revision) {
		raw, err := storage.ReadSmall(filepath.Join(root, "refs", filepath.FromSlash(revision)), storage.KindNote)
		if err != nil {
			return ""
		}
		commit = strings.TrimSpace(string(raw))
	}
	dir := filepath.Join(root, "snapshots", commit)
	if !commitName.MatchString(commit) || incomplete(dir) != "" {
		return ""
	}
	return dir
}

// incomplete names a file that a model's folder must have and has not, or is "".
func incomplete(dir string) string {
	has := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	if !has("config.json") {
		return "config.json"
	}
	if has(weights) {
		return ""
	}
	raw, err := storage.ReadSmall(filepath.Join(dir, index), storage.KindIndex)
	if err != nil {
		return weights
	}
	var x struct {
		Map map[string]string `json:"weight_map"`
	}
	if json.Unmarshal(raw, &x) != nil || len(x.Map) == 0 {
		return index
	}
	missing := ""
	for _, f := range x.Map {
		if (!local(f) || !has(f)) && (missing == "" || f < missing) {
			missing = f
		}
	}
	return missing
}
