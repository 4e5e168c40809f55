// promcheck reads metrics as Prometheus does when it scrapes, and lints them as "promtool check metrics" does. promtool itself takes
// many minutes to build.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	if err := check(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(from io.Reader) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	series := 0
	parser := textparse.NewPromParser(text, labels.NewSymbolTable())
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("parser: %w", err)
		}
		if entry == textparse.EntrySeries {
			series++
		}
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		return fmt.Errorf("linter: %w", err)
	}
	for _, problem := range problems {
		fmt.Println(problem.Metric, problem.Text)
	}
	fmt.Println(series, "series,", len(problems), "problems")
	if series == 0 || len(problems) > 0 {
		return errors.New("not as it should be")
	}
	return nil
}
