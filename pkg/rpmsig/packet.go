package rpmsig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ErrMalformed is wrapped by errors about bytes that are no OpenPGP data, or
// not of the kind asked for.
var ErrMalformed = errors.New("malformed OpenPGP data")

// Caps on what is read. The largest real key file, with post-quantum keys, is
// below 64 KiB; a key file that collected thousands of certifications is not
// one that a distribution ships.
const (
	maxInput   = 4 << 20
	maxPackets = 4096
)

// The packet tags that matter here (RFC 9580, section 5).
const (
	tagSignature    = 2
	tagSecretKey    = 5
	tagPublicKey    = 6
	tagSecretSubkey = 7
	tagUserID       = 13
	tagPublicSubkey = 14
	tagUserAttr     = 17
)

// rawPacket is one packet as it stands in the data: raw with its header, body
// without.
type rawPacket struct {
	tag       int
	raw, body []byte
}

// splitPackets cuts binary OpenPGP data into packets. At damage it returns the
// packets before it, and an error. Lengths that only a stream needs (partial,
// indeterminate) are refused: keys and signatures never have them.
func splitPackets(b []byte) ([]rawPacket, error) {
	var list []rawPacket
	for off := 0; off < len(b); {
		if len(list) >= maxPackets {
			return list, fmt.Errorf("more than %d packets: %w", maxPackets, ErrMalformed)
		}
		head, n, tag, err := packetHeader(b[off:])
		if err != nil {
			return list, fmt.Errorf("packet at byte %d: %w", off, err)
		}
		if n > len(b)-off-head {
			return list, fmt.Errorf("packet at byte %d: %d bytes announced, %d left: %w", off, n, len(b)-off-head, ErrMalformed)
		}
		end := off + head + n
		list = append(list, rawPacket{tag, b[off:end:end], b[off+head : end : end]})
		off = end
	}
	return list, nil
}

// packetHeader reads the tag and length octets, old or new format.
func packetHeader(b []byte) (head, length, tag int, err error) {
	if b[0]&0x80 == 0 {
		return 0, 0, 0, fmt.Errorf("no packet tag: %w", ErrMalformed)
	}
	var n uint64
	if b[0]&0x40 == 0 {
		tag = int(b[0]>>2) & 0xf
		if b[0]&3 == 3 {
			return 0, 0, 0, fmt.Errorf("indeterminate length: %w", ErrMalformed)
		}
		head = 1 + 1<<(b[0]&3)
		if len(b) < head {
			return 0, 0, 0, fmt.Errorf("cut off: %w", ErrMalformed)
		}
		for _, c := range b[1:head] {
			n = n<<8 | uint64(c)
		}
	} else {
		tag = int(b[0] & 0x3f)
		switch {
		case len(b) >= 2 && b[1] < 192:
			head, n = 2, uint64(b[1])
		case len(b) >= 3 && b[1] < 224:
			head, n = 3, uint64(b[1]-192)<<8+uint64(b[2])+192
		case len(b) >= 6 && b[1] == 255:
			head, n = 6, uint64(binary.BigEndian.Uint32(b[2:]))
		default:
			return 0, 0, 0, fmt.Errorf("partial length or cut off: %w", ErrMalformed)
		}
	}
	if n > maxInput {
		return 0, 0, 0, fmt.Errorf("%d bytes: %w", n, ErrMalformed)
	}
	return head, int(n), tag, nil
}

// readPacket has go-crypto read one packet.
func readPacket(p rawPacket) (pkt packet.Packet, err error) {
	// The bytes are anybody's. A panic in a decoder must not take a host's
	// check down with it; it is one more form of "cannot be read".
	defer func() {
		if r := recover(); r != nil {
			pkt, err = nil, fmt.Errorf("cannot read packet: %v: %w", r, ErrMalformed)
		}
	}()
	return packet.Read(bytes.NewReader(p.raw))
}

var (
	armorBegin = []byte("-----BEGIN PGP ")
	armorEnd   = []byte("-----END PGP ")
)

// isArmored reports whether data is text with armor blocks rather than packets.
func isArmored(data []byte) bool { return bytes.Contains(data, armorBegin) }

// armorBlocks cuts text into its armor blocks and decodes each. Text between
// blocks is ignored. A block that cannot be decoded yields an error in place
// of its data, and does not spoil the others.
func armorBlocks(data []byte, yield func(data []byte, err error)) {
	for n := 1; ; n++ {
		start := bytes.Index(data, armorBegin)
		if start < 0 {
			return
		}
		block := data[start:]
		// A block without its END line must not swallow the next one.
		stop := len(block)
		if i := bytes.Index(block[len(armorBegin):], armorBegin); i >= 0 {
			stop = len(armorBegin) + i
		}
		block, data = block[:stop], block[stop:]
		if n > maxPackets {
			yield(nil, fmt.Errorf("more than %d armor blocks: %w", maxPackets, ErrMalformed))
			return
		}
		if !bytes.Contains(block, armorEnd) {
			yield(nil, fmt.Errorf("armor block %d has no END line: %w", n, ErrMalformed))
			continue
		}
		// Lines may be indented in what people paste; armor.Decode trims.
		b, err := armor.Decode(bytes.NewReader(block))
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(io.LimitReader(b.Body, maxInput)); err == nil {
				yield(body, nil)
				continue
			}
		}
		yield(nil, fmt.Errorf("armor block %d: %w: %w", n, err, ErrMalformed))
	}
}
