package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Hasher turns personal data into subject tokens with a secret: without the secret nobody finds
// out whose they are, though there are only some 10^10 phone numbers to try.
type Hasher struct{ key []byte }

// Hash is 26 lower-case characters; the same value gives the same token on every pod.
func (h Hasher) Hash(value string) string {
	m := hmac.New(sha256.New, h.key)
	m.Write([]byte(value))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(m.Sum(nil)[:16]))
}

const keySubject = "yz.cap._key"

// Hasher returns the hasher of this installation. file holds the secret (at least 32 bytes); all
// pods need the same one, or each would count the cap for itself, so a fingerprint on the broker
// must match. Without a file an embedded broker keeps a generated secret in its data directory, and
// an external one keeps it beside the data, which is said in the log.
func (b *Broker) Hasher(ctx context.Context, file string) (Hasher, error) {
	last, err := b.Last(ctx, Caps, keySubject)
	if err != nil {
		return Hasher{}, fmt.Errorf("number key: %w", err)
	}
	if file == "" && b.Embedded {
		file = filepath.Join(b.cfg.DataDir, "number.key")
		if _, err := os.Stat(file); err != nil && last != nil {
			return Hasher{}, &schemas.Invalid{Problems: []schemas.Problem{problem("data_dir",
				"缺少 %s：请从备份恢复该文件，换用新的密钥会使每日上限重新计数",
				"%s is missing: put it back from a backup; with another one the daily cap would count anew", file)}}
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return Hasher{}, err
		}
	}
	var key []byte
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return Hasher{}, badNumberKey("读不到文件："+err.Error(), err.Error())
		}
		if key = []byte(trim(raw)); len(key) < 32 {
			return Hasher{}, badNumberKey("密钥至少需要 32 个字符", "want at least 32 characters of secret")
		}
	}
	mark := "file:"
	if key != nil {
		sum := sha256.Sum256(append([]byte("yizhan number key "), key...))
		mark += hex.EncodeToString(sum[:8])
	} else {
		mark = "key:" + rand.Text() + rand.Text()
	}
	_, err = b.Put(ctx, Caps, &nats.Msg{Subject: keySubject, Data: []byte(mark)}, 0)
	if err != nil && !errors.Is(err, ErrConflict) {
		return Hasher{}, err
	}
	last, err = b.Last(ctx, Caps, keySubject)
	if err != nil || last == nil {
		return Hasher{}, fmt.Errorf("number key: %w", errors.Join(err, errors.New("no mark on the broker")))
	}
	have := string(last.Data)
	switch shared, isKey := strings.CutPrefix(have, "key:"); {
	case key == nil && isKey:
		b.log.Warn("the secret that hides phone numbers lies on the broker beside the data; give number_key_file to keep it elsewhere")
		return Hasher{[]byte(shared)}, nil
	case have == mark:
		return Hasher{key}, nil
	case key == nil:
		return Hasher{}, badNumberKey("其他进程已使用密钥文件，请为本进程提供同一个文件", "the other pods use one; give this process the same file")
	default:
		return Hasher{}, badNumberKey(
			fmt.Sprintf("与消息队列中已有数据使用的密钥不同（指纹 %s，应为 %s）：换用别的密钥会使每日上限重新计数", mark, have),
			fmt.Sprintf("not the secret that this broker's data was made with (fingerprint %s, want %s): with another one the daily cap would count anew", mark, have))
	}
}

func badNumberKey(zh, en string) error {
	return &schemas.Invalid{Problems: []schemas.Problem{{Pointer: "/number_key_file", Keyword: "setting", Text: schemas.Text{Zh: zh, En: en}}}}
}

// CapStore is the rules.Store of the daily cap.
type CapStore struct {
	B *Broker
	Hasher
}

var _ rules.Store = CapStore{}

// Load reads a record.
func (s CapStore) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.B.load(ctx, Caps, "yz.cap."+s.Hash(key))
}

// Swap writes a record by compare-and-set.
func (s CapStore) Swap(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	return s.B.swap(ctx, Caps, "yz.cap."+s.Hash(key), value, revision, ttl)
}

// ConsentStore is the rules.Store of consents. Keys are tenant/address: the tenant stays readable, the
// address is hashed. The value says whose it is: that is what it is kept for.
type ConsentStore struct {
	B *Broker
	Hasher
}

var (
	_ rules.Store  = ConsentStore{}
	_ rules.Lister = ConsentStore{}
)

func (s ConsentStore) subject(key string) string {
	tenant, _, _ := strings.Cut(key, "/")
	return "yz.consent." + Token(tenant) + "." + s.Hash("consent "+key)
}

// Load reads a record.
func (s ConsentStore) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.B.load(ctx, Consents, s.subject(key))
}

// Swap writes a record by compare-and-set. Records are kept for ever: the stream refuses another ttl than 0.
func (s ConsentStore) Swap(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	return s.B.swap(ctx, Consents, s.subject(key), value, revision, ttl)
}

// Each lists the records of a tenant, "" is all of them, see [rules.Lister]. A revision is the record's
// sequence in the stream.
func (s ConsentStore) Each(ctx context.Context, tenant string, from uint64, f func(value []byte, revision uint64) bool) error {
	filter := "yz.consent.>"
	if tenant != "" {
		filter = "yz.consent." + Token(tenant) + ".*"
	}
	err := s.B.Each(ctx, Consents, filter, from, func(m jetstream.Msg) (bool, error) {
		meta, err := m.Metadata()
		if err != nil {
			return false, err
		}
		return f(m.Data(), meta.Sequence.Stream), nil
	})
	if err != nil {
		return fmt.Errorf("consents: %w", err)
	}
	return nil
}

// LimitStore is the rules.Store of budgets of calls, see package limits. Keys are hashes already.
type LimitStore struct{ B *Broker }

var _ rules.Store = LimitStore{}

// Load reads a record.
func (s LimitStore) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.B.load(ctx, Limits, "yz.limit."+key)
}

// Swap writes a record by compare-and-set.
func (s LimitStore) Swap(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	return s.B.swap(ctx, Limits, "yz.limit."+key, value, revision, ttl)
}

// load reads the record on a subject; an absent one is nil, 0.
func (b *Broker) load(ctx context.Context, stream, subject string) ([]byte, uint64, error) {
	m, err := b.Last(ctx, stream, subject)
	if err != nil || m == nil {
		return nil, 0, err
	}
	return m.Data, m.Sequence, nil
}

// swap writes the record on a subject by compare-and-set; ttl 0 is for ever.
func (b *Broker) swap(ctx context.Context, stream, subject string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	m := &nats.Msg{Subject: subject, Data: value, Header: nats.Header{}}
	if ttl > 0 {
		m.Header.Set("Nats-TTL", ttl.Round(time.Second).String())
	}
	rev, err := b.Put(ctx, stream, m, revision)
	if errors.Is(err, ErrConflict) {
		return 0, rules.ErrConflict
	}
	return rev, err
}

// Nonce records a nonce; false when it was seen before, by any pod, in the last 15 minutes.
func (b *Broker) Nonce(ctx context.Context, keyID, nonce string) (fresh bool, err error) {
	sum := sha256.Sum256([]byte(keyID + "\x00" + nonce))
	_, err = b.Put(ctx, Nonces, &nats.Msg{Subject: "yz.nonce." + hex.EncodeToString(sum[:16])}, 0)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
