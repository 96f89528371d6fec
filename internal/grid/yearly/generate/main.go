// Command generate writes the table of yearly averages out of the npm package
// @tgwf/co2, as `npm pack` leaves it: make grid-tables.
//
// It refuses a package other than the one it was read for: what the figures are
// about (kind, year, licence) stands in the package's documentation only, and
// somebody has to look.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	version   = "0.19.0"
	integrity = "3VkpB5H6OGQF2P6nESbThVEOfQrFjBz8wBDTEmhbJ4uEi67TsMt+Oyq7YOweOdUkSOJBPsezjf/5i/ScXgqGDA==" // SHA-512, as npm states it
	member    = "package/dist/esm/data/average-intensities.min.js"
	most      = 16 << 20
)

// iso has the countries of the package by their codes of ISO 3166-1: alpha-3,
// then alpha-2. XKX and XK are no codes of ISO but everybody's for Kosovo.
const iso = `
ABWAW AFGAF AGOAO ALBAL AREAE ARGAR ARMAM ASMAS ATGAG AUSAU AUTAT AZEAZ BDIBI BELBE BENBJ BFABF
BGDBD BGRBG BHRBH BHSBS BIHBA BLRBY BLZBZ BOLBO BRABR BRBBB BRNBN BTNBT BWABW CAFCF CANCA CHECH
CHLCL CHNCN CIVCI CMRCM CODCD COGCG COKCK COLCO COMKM CPVCV CRICR CUBCU CYMKY CYPCY CZECZ DEUDE
DJIDJ DMADM DNKDK DOMDO DZADZ ECUEC EGYEG ERIER ESPES ESTEE ETHET FINFI FJIFJ FLKFK FRAFR FROFO
GABGA GBRGB GEOGE GHAGH GINGN GLPGP GMBGM GNBGW GNQGQ GRCGR GRDGD GRLGL GTMGT GUFGF GUMGU GUYGY
HKGHK HNDHN HRVHR HTIHT HUNHU IDNID INDIN IRLIE IRNIR IRQIQ ISLIS ISRIL ITAIT JAMJM JORJO JPNJP
KAZKZ KENKE KGZKG KHMKH KIRKI KNAKN KORKR KWTKW LAOLA LBNLB LBRLR LBYLY LCALC LKALK LSOLS LTULT
LUXLU LVALV MACMO MARMA MDAMD MDGMG MDVMV MEXMX MKDMK MLIML MLTMT MMRMM MNEME MNGMN MOZMZ MRTMR
MSRMS MTQMQ MUSMU MWIMW MYSMY NAMNA NCLNC NERNE NGANG NICNI NLDNL NORNO NPLNP NRUNR NZLNZ OMNOM
PAKPK PANPA PERPE PHLPH PNGPG POLPL PRIPR PRKKP PRTPT PRYPY PSEPS PYFPF QATQA REURE ROURO RUSRU
RWARW SAUSA SDNSD SENSN SGPSG SLBSB SLESL SLVSV SOMSO SPMPM SRBRS SSDSS STPST SURSR SVKSK SVNSI
SWESE SWZSZ SYCSC SYRSY TCATC TCDTD TGOTG THATH TJKTJ TKMTM TONTO TTOTT TUNTN TURTR TWNTW TZATZ
UGAUG UKRUA URYUY USAUS UZBUZ VCTVC VENVE VGBVG VIRVI VNMVN VUTVU WSMWS XKXXK YEMYE ZAFZA ZMBZM
ZWEZW
`

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1) //nolint:forbidigo // this is a program
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: generate tgwf-co2-" + version + ".tgz")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	if sum := sha512.Sum512(data); base64.StdEncoding.EncodeToString(sum[:]) != integrity {
		return fmt.Errorf("read %s: it is not version %s: read its README and change the generator", args[0], version)
	}
	source, err := extract(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	text, err := table(source)
	if err != nil {
		return fmt.Errorf("read %s: %w", member, err)
	}
	_, err = io.WriteString(out, text)
	return err
}

func extract(data []byte) ([]byte, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("it has no %s", member)
		}
		if err != nil {
			return nil, err
		}
		if header.Name == member {
			return io.ReadAll(io.LimitReader(archive, most))
		}
	}
}

// table returns Go source with one country a line, sorted. Regions of the world
// are left out, and values of 0: no electricity is made of nothing, and a value
// that is not known has no place here.
func table(source []byte) (string, error) {
	found := regexp.MustCompile(`(?s)const data = (\{.*?\});\s*const type = "average";`).FindSubmatch(source)
	if found == nil {
		return "", errors.New("it does not look as it used to")
	}
	values := map[string]float64{}
	if err := json.Unmarshal(found[1], &values); err != nil {
		return "", err
	}
	alpha2 := map[string]string{}
	for codes := range strings.FieldsSeq(iso) {
		alpha2[codes[:3]] = codes[3:]
	}
	letters := regexp.MustCompile(`^[A-Z]{3}$`) // not G20
	var lines []string
	for _, code := range slices.Sorted(maps.Keys(values)) {
		country, ok := alpha2[code]
		switch value := values[code]; {
		case !ok && letters.MatchString(code):
			return "", fmt.Errorf("%s is not in the list of countries", code)
		case value < 0 || value >= 3000:
			return "", fmt.Errorf("%s has %v gCO2e/kWh", code, value)
		case ok && value > 0:
			lines = append(lines, country+" "+code+" "+strconv.FormatFloat(value, 'f', -1, 64))
		}
	}
	slices.Sort(lines)
	return "// Code generated from the npm package @tgwf/co2 " + version + " by make grid-tables; DO NOT EDIT.\n\n" +
		"package yearly\n\n" +
		"// table has a country a line: ISO 3166-1 alpha-2, alpha-3, gCO2e/kWh.\n" +
		"const table = `\n" + strings.Join(lines, "\n") + "\n`\n", nil
}
