package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/channels"
)

// Bounces is the section bounces of a mail channel.
type Bounces struct {
	// Maildir is a Maildir whose new mails are read, or a folder of .eml files; relative to the folder of yizhan.yaml.
	// Each file is moved to cur once what it says is stored.
	Maildir string `yaml:"maildir,omitempty"`
}

const (
	// bounceEvery is how often the folder is looked at.
	bounceEvery = 30 * time.Second
	// maxRound bounds the files of one look.
	maxRound = 1000
)

// Reports reads one mail that was handed in over HTTP.
func (c *channel) Reports(_ *http.Request, body []byte) ([]channels.Report, channels.ReportAnswer, error) {
	reports, err := c.readBounce(body)
	if err != nil {
		return nil, channels.ReportAnswer{}, err
	}
	return reports, channels.ReportAnswer{ContentType: "application/json", Body: fmt.Appendf(nil, `{"reports":%d}`, len(reports))}, nil
}

// Collect reads the folder of bounces until ctx ends.
func (c *channel) Collect(ctx context.Context, store func(context.Context, []channels.Report) error) {
	if c.Bounces.Maildir == "" {
		return
	}
	tick := time.NewTicker(bounceEvery)
	defer tick.Stop()
	for {
		if err := c.collect(ctx, store); err != nil && ctx.Err() == nil {
			c.log.Warn("bounces", zap.String("maildir", c.Bounces.Maildir), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// collect reads what is new and moves it away. Several processes may share the folder: the same mail read twice
// is settled once.
func (c *channel) collect(ctx context.Context, store func(context.Context, []channels.Report) error) error {
	root, err := os.OpenRoot(c.Bounces.Maildir) // names that lead outside are refused
	if err != nil {
		return err
	}
	defer root.Close()
	folder, suffix := "new", ""
	if info, err := root.Stat("new"); err != nil || !info.IsDir() {
		folder, suffix = ".", ".eml"
	}
	if err := root.Mkdir("cur", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	names, err := listed(root, folder)
	if err != nil {
		return err
	}
	done := 0
	for _, name := range names {
		if ctx.Err() != nil || done >= maxRound {
			return ctx.Err()
		}
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(strings.ToLower(name), suffix) {
			continue
		}
		done++
		file := folder + "/" + name
		raw, err := readFile(root, file)
		if errors.Is(err, fs.ErrNotExist) { // another process was faster
			continue
		}
		if err != nil {
			return err
		}
		if raw == nil { // a folder, a link, a device
			continue
		}
		reports, err := c.readBounce(raw)
		if err != nil {
			c.log.Warn("a file among the bounces that is no mail", zap.String("file", name))
		}
		if len(reports) > 0 {
			if err := store(ctx, reports); err != nil {
				return err // it stays where it is and is read again
			}
		}
		if err := root.Rename(file, "cur/"+seen(name, folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// seen is a file's name in cur: a Maildir marks there what has been read.
func seen(name, folder string) string {
	if folder == "new" && runtime.GOOS != "windows" && !strings.Contains(name, ":2,") {
		return name + ":2,S"
	}
	return name
}

func listed(root *os.Root, folder string) ([]string, error) {
	d, err := root.Open(folder)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(20 * maxRound)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// readFile reads at most maxBounce bytes of a regular file; nil when it is none.
func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBounce))
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}

// settle checks the folder and makes its path absolute.
func (b *Bounces) settle(env channels.Env) error {
	if b.Maildir == "" {
		return nil
	}
	b.Maildir = env.Path(b.Maildir)
	info, err := os.Stat(b.Maildir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return channels.BadSetting("bounces/maildir", "无法读取退信目录："+err.Error(), err.Error())
	}
	return nil
}
