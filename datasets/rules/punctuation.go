package rules

// Punctuation is datatrove's list of punctuation marks without its control characters: what normalisation turns into spaces.
const Punctuation = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"

// TerminalPunctuation holds the marks that end a sentence in any script, as FineWeb uses them.
const TerminalPunctuation = "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿" +
	"꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡𐩖𐩗𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊" +
	"𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖺘𛲟𝪈"

// removed is what normalisation turns into spaces: the marks and the control characters but tab and newline.
var removed = func() *runeSet {
	t := newRuneSet(Punctuation)
	for _, r := range [][2]rune{{0, 9}, {11, 13}, {13, 32}, {127, 160}} {
		for c := r[0]; c < r[1]; c++ {
			t.bmp[c>>6] |= 1 << (c & 63)
		}
	}
	return t
}()

// symbols are the characters a word of nothing else is not counted for.
var symbols = func() *runeSet {
	t := newRuneSet(Punctuation + TerminalPunctuation)
	for i, m := range removed.bmp {
		t.bmp[i] |= m
	}
	return t
}()

var terminal = newRuneSet(TerminalPunctuation)
