package rules

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// readCounts reads the table of a rule's frequency_file: CSV with the columns word and count.
func readCounts(rule, file string) (map[string]float64, error) {
	if file == "" {
		return nil, fmt.Errorf("%s: frequency_file names no file; it is a CSV file with the columns word and count", rule)
	}
	f, err := storage.OpenReaderAt(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rule, err)
	}
	defer f.Close()
	counts, err := parseCounts(storage.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", rule, file, err)
	}
	return counts, nil
}

func parseCounts(r io.Reader) (map[string]float64, error) {
	c := csv.NewReader(r)
	head, err := c.Read()
	if err != nil || len(head) < 2 || head[0] != "word" || head[1] != "count" {
		return nil, errors.New("it does not begin with the columns word and count")
	}
	counts := map[string]float64{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil || !(n >= 0) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("the count of %q is %q", row[0], row[1])
		}
		counts[row[0]] = n
	}
}
