package attach

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/yizhan-dev/yizhan/channels"
)

// folder is a [source] below one root. No link leads out of it: os.Root refuses those that try.
type folder struct {
	root string
	// hung bounds the reads under way: a network file system that hangs holds a read for good, whatever
	// the context says, and the next ones must not pile up behind it.
	hung chan struct{}
}

// maxReads is how many files are read at once.
const maxReads = 32

func openFolder(c File, env channels.Env) (*folder, error) {
	root := env.Path(c.Root)
	info, err := os.Stat(root)
	if err != nil {
		return nil, channels.BadSetting("file/root", "无法读取该目录："+err.Error(), err.Error())
	}
	if !info.IsDir() {
		return nil, channels.BadSetting("file/root", "应为目录", "want a folder")
	}
	return &folder{root: root, hung: make(chan struct{}, maxReads)}, nil
}

// opened is what became of a call that no context ends.
type opened struct {
	file *os.File
	size int64
	err  error
}

func (f *folder) open(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	select {
	case f.hung <- struct{}{}:
	default:
		return nil, 0, lackf(channels.Unreachable, "%d reads of the folder are under way already", maxReads)
	}
	name := filepath.FromSlash(strings.TrimPrefix(u.Path, "/"))
	got := make(chan opened, 1)
	go func() {
		file, size, err := below(f.root, name)
		got <- opened{file, size, err}
	}()
	select {
	case o := <-got:
		if o.err != nil {
			<-f.hung
			return nil, 0, hidden(o.err)
		}
		return newPipe(ctx, o.file, func() { <-f.hung }), o.size, nil
	case <-ctx.Done():
		go func() { // when the file system comes back
			if o := <-got; o.file != nil {
				_ = o.file.Close()
			}
			<-f.hung
		}()
		return nil, 0, lackf(channels.Unreachable, "the folder does not answer: %w", ctx.Err())
	}
}

// below opens a regular file. The root is opened each time: what is mounted there may have changed.
func below(root, name string) (*os.File, int64, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, 0, lackf(channels.Unreachable, "the root cannot be opened: %w", err)
	}
	defer dir.Close()
	info, err := dir.Stat(name) // before it is opened: opening a pipe would wait for its other end
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, lackf(channels.Denied, "not a regular file")
	}
	file, err := dir.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// hidden drops the path from a file system's error: it is no business of whoever reads a trace. A link
// that leads out of the root is a refusal.
func hidden(err error) error {
	pe, ok := err.(*os.PathError) //nolint:errorlint // only the outermost has the path
	if !ok {
		return err
	}
	if strings.Contains(pe.Err.Error(), "escapes") {
		return &lack{channels.Denied, pe.Err}
	}
	return pe.Err
}

// pipe reads a file without waiting longer than its context for it.
type pipe struct {
	*io.PipeReader
	stop func() bool
}

func newPipe(ctx context.Context, file *os.File, done func()) *pipe {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, file)
		_ = w.CloseWithError(err)
		_ = file.Close()
		done()
	}()
	return &pipe{r, context.AfterFunc(ctx, func() { _ = r.CloseWithError(ctx.Err()) })}
}

// Close ends the reading; a read that hangs ends with the file system's next answer.
func (p *pipe) Close() error {
	p.stop()
	return p.PipeReader.Close()
}
