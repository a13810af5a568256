package cli

import (
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bounds are the least and the most of flags that count something, by their names, which mean the same in every command. Beyond them a
// number overflows, or what it asks for never ends. Settings of recipes have bounds of their own.
var bounds = map[string][2]int64{
	"add":              {1, 1 << 20},
	"adapter-rank":     {0, 1 << 16},
	"adapter-memory":   {1, 1 << 30},
	"batch":            {1, 1 << 16},
	"disk-size-gb":     {0, 1 << 16},
	"group-keys":       {1, 1 << 20},
	"group-tokens":     {1, 1 << 24},
	"input-files":      {1, 1 << 40},
	"max-model-len":    {0, 1 << 24},
	"max-num-seqs":     {1, 1 << 10},
	"max-num-workers":  {0, 1 << 16},
	"max-queue":        {1, 1 << 20},
	"max-rank":         {0, 1 << 20},
	"memory-limit":     {0, 1 << 30},
	"min-frequency":    {1, 1 << 40},
	"num-workers":      {0, 1 << 16},
	"optimizer-shards": {1, 1 << 16},
	"port":             {0, 1<<16 - 1},
	"prompt-tokens":    {1, 1 << 20},
	"rank":             {1, 1 << 20},
	"repeat":           {1, 1 << 20},
	"replicas":         {1, 1 << 16},
	"rounds":           {1, 1 << 30},
	"runs":             {1, 1 << 16},
	"samples":          {1, 1_000_000}, // each has its place in memory while they are written
	"save-steps":       {1, 1 << 30},
	"seq":              {2, 1 << 20},
	"sequence-length":  {2, 1 << 24},
	"steps":            {1, 1 << 30},
	"streams":          {1, 1 << 10},
	"svd-rank":         {0, 1 << 30},
	"task-managers":    {0, 1 << 10},
	"threads":          {0, 1 << 12},
	"tokens":           {1, 1 << 20},
	"vocab-size":       {257, 1 << 24},
	"warmup":           {0, 1 << 30},
	"workers":          {1, 1 << 16},
}

// checkBounds is the check of all commands' flags that were given.
func checkBounds(c *cobra.Command, _ []string) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		b, ok := bounds[f.Name]
		if !ok || err != nil {
			return
		}
		values := []string{f.Value.String()}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = s.GetSlice()
		}
		for _, v := range values {
			if n, bad := strconv.ParseInt(v, 10, 64); bad != nil || n < b[0] || n > b[1] {
				err = usage("--%s is %s; it must be from %d to %d", f.Name, v, b[0], b[1])
			}
		}
	})
	return err
}
