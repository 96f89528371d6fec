package entsoe

import "strings"

// zones has the area that a zone of Electricity Maps is, by the Energy
// Identification Codes of ENTSO-E (type Y, areas), as the guide of the API lists
// them: https://transparency.entsoe.eu/content/static_content/Static%20content/web%20api/Guide.html#_areas
//
// Great Britain is not among them: it has not reported since it left the
// internal market. GB-NIR is, which trades with Ireland.
//
//nolint:misspell // codes are no words
const zones = `
AL 10YAL-KESH-----5
AT 10YAT-APG------L
BA 10YBA-JPCC-----D
BE 10YBE----------2
BG 10YCA-BULGARIA-R
CH 10YCH-SWISSGRIDZ
CY 10YCY-1001A0003J
CZ 10YCZ-CEPS-----N
DE 10Y1001A1001A83F
DK 10Y1001A1001A65H
DK-DK1 10YDK-1--------W
DK-DK2 10YDK-2--------M
EE 10Y1001A1001A39I
ES 10YES-REE------0
FI 10YFI-1--------U
FR 10YFR-RTE------C
GB-NIR 10Y1001A1001A016
GE 10Y1001A1001B012
GR 10YGR-HTSO-----Y
HR 10YHR-HEP------M
HU 10YHU-MAVIR----U
IE 10YIE-1001A00010
IT 10YIT-GRTN-----B
IT-CNO 10Y1001A1001A70O
IT-CSO 10Y1001A1001A71M
IT-NO 10Y1001A1001A73I
IT-SAR 10Y1001A1001A74G
IT-SIC 10Y1001A1001A75E
IT-SO 10Y1001A1001A788
LT 10YLT-1001A0008Q
LU 10YLU-CEGEDEL-NQ
LV 10YLV-1001A00074
MD 10Y1001A1001A990
ME 10YCS-CG-TSO---S
MK 10YMK-MEPSO----8
MT 10Y1001A1001A93C
NL 10YNL----------L
NO 10YNO-0--------C
NO-NO1 10YNO-1--------2
NO-NO2 10YNO-2--------T
NO-NO3 10YNO-3--------J
NO-NO4 10YNO-4--------9
NO-NO5 10Y1001A1001A48H
PL 10YPL-AREA-----S
PT 10YPT-REN------W
RO 10YRO-TEL------P
RS 10YCS-SERBIATSOV
SE 10YSE-1--------K
SE-SE1 10Y1001A1001A44P
SE-SE2 10Y1001A1001A45N
SE-SE3 10Y1001A1001A46L
SE-SE4 10Y1001A1001A47J
SI 10YSI-ELES-----O
SK 10YSK-SEPS-----K
UA 10Y1001C--00003F
XK 10Y1001C--00100H
`

// eic returns the code of the area of a zone, "" if there is none.
func eic(zone string) string {
	for line := range strings.Lines(zones) {
		if name, code, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == zone {
			return code
		}
	}
	return ""
}

// Zones returns the zones that the platform has, sorted.
func Zones() []string {
	var all []string
	for line := range strings.Lines(zones) {
		if name, _, ok := strings.Cut(line, " "); ok {
			all = append(all, name)
		}
	}
	return all
}
