package rules

import (
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// MarkdownText takes the text out of Markdown (CommonMark with GitHub's tables): no marks of emphasis, headings, links and images, a
// paragraph for each block, a line for each item.
type MarkdownText struct {
	KeepCode bool `yaml:"keep_code" json:"keep_code" help:"blocks of code stay, without their fences"`
}

// NewMarkdownText keeps code.
func NewMarkdownText() *MarkdownText { return &MarkdownText{KeepCode: true} }

// Name is "markdown_text".
func (*MarkdownText) Name() string { return "markdown_text" }

// Prepare has nothing to check.
func (m *MarkdownText) Prepare() error { return nil }

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM))

// Apply renders the text.
func (m *MarkdownText) Apply(d *Doc) Verdict {
	src := []byte(d.Text)
	var b strings.Builder
	end := func(n int) { // at least n newlines after what there is
		s := b.String()
		if s == "" {
			return
		}
		for k := len(s) - len(strings.TrimRight(s, "\n")); k < n; k++ {
			b.WriteByte('\n')
		}
	}
	lines := func(n ast.Node) {
		for i := range n.Lines().Len() {
			seg := n.Lines().At(i)
			b.Write(seg.Value(src))
		}
	}
	_ = ast.Walk(markdown.Parser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Segment.Value(src))
				if n.HardLineBreak() || n.SoftLineBreak() {
					b.WriteByte('\n')
				}
			}
		case *ast.String:
			if entering {
				b.Write(n.Value)
			}
		case *ast.AutoLink:
			if entering {
				b.Write(n.URL(src))
			}
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			if entering && m.KeepCode {
				lines(n)
				end(2)
			}
			return ast.WalkSkipChildren, nil
		case *ast.HTMLBlock:
			if entering {
				var raw strings.Builder
				for i := range n.Lines().Len() {
					seg := n.Lines().At(i)
					raw.Write(seg.Value(src))
				}
				b.WriteString(plainText(raw.String()))
				end(2)
			}
			return ast.WalkSkipChildren, nil
		case *ast.RawHTML:
			return ast.WalkSkipChildren, nil
		case *ast.Heading, *ast.Paragraph, *ast.List, *ast.Blockquote, *east.Table:
			if !entering {
				end(2)
			}
		case *ast.ListItem, *ast.TextBlock, *east.TableRow, *east.TableHeader:
			if !entering {
				end(1)
			}
		case *east.TableCell:
			if !entering && n.NextSibling() != nil {
				b.WriteByte('\t')
			}
		}
		return ast.WalkContinue, nil
	})
	out := strip(b.String())
	if out == "" && strip(d.Text) != "" {
		return drop("no_text", 0, 1)
	}
	return Verdict{Keep: true, Text: out}
}
