/* Countries: their codes, and how their telephone numbers are written (ITU-T E.164 and E.129 national numbering plans).
 * Constant. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "profiler/export_normal.h"

/* By their codes. */
static const struct export_country countries[] = {
    {"AD", "AND", "376", "", 6, 9, "Andorra"},
    {"AE", "ARE", "971", "0", 8, 9, "United Arab Emirates"},
    {"AF", "AFG", "93", "0", 9, 9, "Afghanistan"},
    {"AL", "ALB", "355", "0", 6, 9, "Albania"},
    {"AM", "ARM", "374", "0", 8, 8, "Armenia"},
    {"AO", "AGO", "244", "", 9, 9, "Angola"},
    {"AR", "ARG", "54", "0", 10, 11, "Argentina"},
    {"AT", "AUT", "43", "0", 4, 13, "Austria"},
    {"AU", "AUS", "61", "0", 9, 9, "Australia"},
    {"AZ", "AZE", "994", "0", 9, 9, "Azerbaijan"},
    {"BA", "BIH", "387", "0", 8, 9, "Bosnia and Herzegovina"},
    {"BD", "BGD", "880", "0", 6, 10, "Bangladesh"},
    {"BE", "BEL", "32", "0", 8, 9, "Belgium"},
    {"BG", "BGR", "359", "0", 6, 9, "Bulgaria"},
    {"BH", "BHR", "973", "", 8, 8, "Bahrain"},
    {"BJ", "BEN", "229", "", 8, 10, "Benin"},
    {"BN", "BRN", "673", "", 7, 7, "Brunei"},
    {"BO", "BOL", "591", "0", 8, 8, "Bolivia"},
    {"BR", "BRA", "55", "0", 10, 11, "Brazil"},
    {"BW", "BWA", "267", "", 7, 8, "Botswana"},
    {"BY", "BLR", "375", "80", 9, 9, "Belarus"},
    {"CA", "CAN", "1", "1", 10, 10, "Canada"},
    {"CH", "CHE", "41", "0", 9, 9, "Switzerland"},
    {"CI", "CIV", "225", "", 10, 10, "Ivory Coast"},
    {"CL", "CHL", "56", "", 9, 9, "Chile"},
    {"CM", "CMR", "237", "", 9, 9, "Cameroon"},
    {"CN", "CHN", "86", "0", 9, 11, "China"},
    {"CO", "COL", "57", "", 8, 10, "Colombia"},
    {"CR", "CRI", "506", "", 8, 8, "Costa Rica"},
    {"CU", "CUB", "53", "0", 6, 8, "Cuba"},
    {"CY", "CYP", "357", "", 8, 8, "Cyprus"},
    {"CZ", "CZE", "420", "", 9, 9, "Czech Republic"},
    {"DE", "DEU", "49", "0", 5, 13, "Germany"},
    {"DK", "DNK", "45", "", 8, 8, "Denmark"},
    {"DO", "DOM", "1", "1", 10, 10, "Dominican Republic"},
    {"DZ", "DZA", "213", "0", 8, 9, "Algeria"},
    {"EC", "ECU", "593", "0", 8, 9, "Ecuador"},
    {"EE", "EST", "372", "", 7, 8, "Estonia"},
    {"EG", "EGY", "20", "0", 8, 10, "Egypt"},
    {"ES", "ESP", "34", "", 9, 9, "Spain"},
    {"ET", "ETH", "251", "0", 9, 9, "Ethiopia"},
    {"FI", "FIN", "358", "0", 5, 12, "Finland"},
    {"FO", "FRO", "298", "", 6, 6, "Faroe Islands"},
    {"FR", "FRA", "33", "0", 9, 9, "France"},
    {"GB", "GBR", "44", "0", 9, 10, "United Kingdom"},
    {"GE", "GEO", "995", "0", 9, 9, "Georgia"},
    {"GG", "GGY", "44", "0", 10, 10, "Guernsey"},
    {"GH", "GHA", "233", "0", 9, 9, "Ghana"},
    {"GI", "GIB", "350", "", 8, 8, "Gibraltar"},
    {"GL", "GRL", "299", "", 6, 6, "Greenland"},
    {"GR", "GRC", "30", "", 10, 10, "Greece"},
    {"GT", "GTM", "502", "", 8, 8, "Guatemala"},
    {"HK", "HKG", "852", "", 8, 8, "Hong Kong"},
    {"HN", "HND", "504", "", 8, 8, "Honduras"},
    {"HR", "HRV", "385", "0", 8, 9, "Croatia"},
    {"HU", "HUN", "36", "06", 8, 9, "Hungary"},
    {"ID", "IDN", "62", "0", 7, 12, "Indonesia"},
    {"IE", "IRL", "353", "0", 7, 9, "Ireland"},
    {"IL", "ISR", "972", "0", 8, 9, "Israel"},
    {"IM", "IMN", "44", "0", 10, 10, "Isle of Man"},
    {"IN", "IND", "91", "0", 10, 10, "India"},
    {"IQ", "IRQ", "964", "0", 8, 10, "Iraq"},
    {"IR", "IRN", "98", "0", 10, 10, "Iran"},
    {"IS", "ISL", "354", "", 7, 9, "Iceland"},
    {"IT", "ITA", "39", "", 6, 12, "Italy"},
    {"JE", "JEY", "44", "0", 10, 10, "Jersey"},
    {"JM", "JAM", "1", "1", 10, 10, "Jamaica"},
    {"JO", "JOR", "962", "0", 8, 9, "Jordan"},
    {"JP", "JPN", "81", "0", 9, 10, "Japan"},
    {"KE", "KEN", "254", "0", 9, 9, "Kenya"},
    {"KG", "KGZ", "996", "0", 9, 9, "Kyrgyzstan"},
    {"KH", "KHM", "855", "0", 8, 9, "Cambodia"},
    {"KR", "KOR", "82", "0", 8, 10, "South Korea"},
    {"KW", "KWT", "965", "", 8, 8, "Kuwait"},
    {"KZ", "KAZ", "7", "8", 10, 10, "Kazakhstan"},
    {"LA", "LAO", "856", "0", 8, 10, "Laos"},
    {"LB", "LBN", "961", "0", 7, 8, "Lebanon"},
    {"LI", "LIE", "423", "", 7, 9, "Liechtenstein"},
    {"LK", "LKA", "94", "0", 9, 9, "Sri Lanka"},
    {"LT", "LTU", "370", "0", 8, 8, "Lithuania"},
    {"LU", "LUX", "352", "", 5, 11, "Luxembourg"},
    {"LV", "LVA", "371", "", 8, 8, "Latvia"},
    {"LY", "LBY", "218", "0", 8, 9, "Libya"},
    {"MA", "MAR", "212", "0", 9, 9, "Morocco"},
    {"MC", "MCO", "377", "", 8, 9, "Monaco"},
    {"MD", "MDA", "373", "0", 8, 8, "Moldova"},
    {"ME", "MNE", "382", "0", 8, 8, "Montenegro"},
    {"MG", "MDG", "261", "0", 9, 9, "Madagascar"},
    {"MK", "MKD", "389", "0", 8, 8, "North Macedonia"},
    {"MM", "MMR", "95", "0", 7, 10, "Myanmar"},
    {"MN", "MNG", "976", "0", 8, 8, "Mongolia"},
    {"MO", "MAC", "853", "", 8, 8, "Macao"},
    {"MT", "MLT", "356", "", 8, 8, "Malta"},
    {"MU", "MUS", "230", "", 7, 8, "Mauritius"},
    {"MV", "MDV", "960", "", 7, 7, "Maldives"},
    {"MX", "MEX", "52", "", 10, 10, "Mexico"},
    {"MY", "MYS", "60", "0", 8, 10, "Malaysia"},
    {"MZ", "MOZ", "258", "", 8, 9, "Mozambique"},
    {"NA", "NAM", "264", "0", 8, 9, "Namibia"},
    {"NG", "NGA", "234", "0", 8, 10, "Nigeria"},
    {"NI", "NIC", "505", "", 8, 8, "Nicaragua"},
    {"NL", "NLD", "31", "0", 9, 9, "Netherlands"},
    {"NO", "NOR", "47", "", 8, 8, "Norway"},
    {"NP", "NPL", "977", "0", 8, 10, "Nepal"},
    {"NZ", "NZL", "64", "0", 8, 10, "New Zealand"},
    {"OM", "OMN", "968", "", 8, 8, "Oman"},
    {"PA", "PAN", "507", "", 7, 8, "Panama"},
    {"PE", "PER", "51", "0", 8, 9, "Peru"},
    {"PH", "PHL", "63", "0", 8, 10, "Philippines"},
    {"PK", "PAK", "92", "0", 9, 10, "Pakistan"},
    {"PL", "POL", "48", "", 9, 9, "Poland"},
    {"PR", "PRI", "1", "1", 10, 10, "Puerto Rico"},
    {"PT", "PRT", "351", "", 9, 9, "Portugal"},
    {"PY", "PRY", "595", "0", 7, 9, "Paraguay"},
    {"QA", "QAT", "974", "", 8, 8, "Qatar"},
    {"RO", "ROU", "40", "0", 9, 9, "Romania"},
    {"RS", "SRB", "381", "0", 8, 9, "Serbia"},
    {"RU", "RUS", "7", "8", 10, 10, "Russia"},
    {"RW", "RWA", "250", "0", 9, 9, "Rwanda"},
    {"SA", "SAU", "966", "0", 8, 9, "Saudi Arabia"},
    {"SE", "SWE", "46", "0", 7, 9, "Sweden"},
    {"SG", "SGP", "65", "", 8, 8, "Singapore"},
    {"SI", "SVN", "386", "0", 8, 8, "Slovenia"},
    {"SK", "SVK", "421", "0", 9, 9, "Slovakia"},
    {"SM", "SMR", "378", "", 6, 10, "San Marino"},
    {"SN", "SEN", "221", "", 9, 9, "Senegal"},
    {"SV", "SLV", "503", "", 8, 8, "El Salvador"},
    {"TH", "THA", "66", "0", 8, 9, "Thailand"},
    {"TN", "TUN", "216", "", 8, 8, "Tunisia"},
    {"TR", "TUR", "90", "0", 10, 10, "Turkey"},
    {"TT", "TTO", "1", "1", 10, 10, "Trinidad and Tobago"},
    {"TW", "TWN", "886", "0", 8, 9, "Taiwan"},
    {"TZ", "TZA", "255", "0", 9, 9, "Tanzania"},
    {"UA", "UKR", "380", "0", 9, 9, "Ukraine"},
    {"UG", "UGA", "256", "0", 9, 9, "Uganda"},
    {"US", "USA", "1", "1", 10, 10, "United States"},
    {"UY", "URY", "598", "0", 8, 8, "Uruguay"},
    {"UZ", "UZB", "998", "", 9, 9, "Uzbekistan"},
    {"VE", "VEN", "58", "0", 10, 10, "Venezuela"},
    {"VN", "VNM", "84", "0", 8, 10, "Vietnam"},
    {"ZA", "ZAF", "27", "0", 9, 9, "South Africa"},
    {"ZM", "ZMB", "260", "0", 9, 9, "Zambia"},
    {"ZW", "ZWE", "263", "0", 8, 9, "Zimbabwe"},
};

/* Other words for some of them. */
static const struct {
    const char *name, *iso2;
} others[] = {
    {"UK", "GB"},
    {"Great Britain", "GB"},
    {"England", "GB"},
    {"Scotland", "GB"},
    {"Wales", "GB"},
    {"Northern Ireland", "GB"},
    {"EIRE", "IE"},
    {"United States of America", "US"},
    {"U.S.A.", "US"},
    {"Czechia", "CZ"},
    {"Holland", "NL"},
    {"The Netherlands", "NL"},
    {"Deutschland", "DE"},
    {"España", "ES"},
    {"Österreich", "AT"},
    {"Schweiz", "CH"},
    {"Türkiye", "TR"},
    {"UAE", "AE"},
    {"RSA", "ZA"},
    {"Korea", "KR"},
    {"Republic of Korea", "KR"},
    {"Russian Federation", "RU"},
    {"Viet Nam", "VN"},
    {"Channel Islands", "JE"},
    {"中国", "CN"},
};

#define COUNT(v) (sizeof(v) / sizeof *(v))

static bool same(struct str s, const char *name)
{
    return s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0;
}

static const struct export_country *find_other(struct str s)
{
    for (size_t i = 0; i < COUNT(others); i++)
        if (same(s, others[i].name))
            return export_country(others[i].iso2);
    return NULL;
}

const struct export_country *export_country_named(struct str s)
{
    if (s.n == 2) {
        const char code[3] = {(char)toupper((unsigned char)s.p[0]), (char)toupper((unsigned char)s.p[1])};
        const struct export_country *c = export_country(code);

        return c ? c : find_other(s);
    }
    for (size_t i = 0; i < COUNT(countries) && s.n > 2; i++)
        if (same(s, s.n == 3 ? countries[i].iso3 : countries[i].name))
            return &countries[i];
    return s.n > 2 ? find_other(s) : NULL;
}

static int compare(const void *code, const void *country)
{
    return strcmp(code, ((const struct export_country *)country)->iso2);
}

const struct export_country *export_country(const char *iso2)
{
    return bsearch(iso2, countries, COUNT(countries), sizeof *countries, compare);
}
