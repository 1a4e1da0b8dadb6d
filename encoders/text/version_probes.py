"""Words whose stems tell versions of Snowball apart, and what tells Unicode tables and tokenizers apart.

A library's version number says too much and too little: most releases change nothing for most languages, and
`Stemmer.version()` stayed the same while stems changed. So an encoder's identity holds digests of what the libraries
make of these words. They are frequent words with many different endings and, for each change between PyStemmer 2.2.0.3,
3.0.0 and 3.1.0, words that it changed. `probes_of` adds forms with an apostrophe, where stemmers change most often. A
later change that touches none of them goes unseen.

Nothing here may be changed: every stored digest would differ. Other probes are a part of another name.
"""

from __future__ import annotations

_APOSTROPHES = ("{}'s", "{}'n", "{}'nin", "l'{}", "dell'{}")

# Letters, marks, digits and symbols of many scripts, capitals, ligatures and compositions, all older than Unicode 14.
CHARACTERS = (
    "AzÄßẞÉñŁøÞŒǅİıſŉʼʹΑλφάςΏЁжЯіїҐԱև\u05d0\u05d1\u05bc\u05e9\u05c1\u0645\u062d\u0645\u062f\u064b\ufefb"
    "\ufdfa\u06a9\u06cc۵\u0663ह\u093fन\u094dद\u0940কথ\u0bbeత\u0bc6ಕ\u0cc6മ\u0d4dක\u0dcfไทยกำລາວສະເມ\u0ec8"
    "ខ\u17d2ម\u17c2រမ\u103cန\u103aမ\u102cཀ\u0fb5གའქართულიႠაᏣꮳᎠሀምᐃᓄ한국어각ᄀ丶中国語漢字々〆〇ひらガパｶﾞﾊﾟゟヿㄅ乭﨑𠀀𪚥①½Ⅷⅷ²₃ﬁﬃ㎏℃"
    "㋿㌔㈠㉠Ⓐ™ℵ№ª𝐇𝒜𝔸🄰ＡｂＣ９\u0301\u0327\u0345\u3099\u20dd\u200c\u200d\u00ad\u200b\ufe0f\ufeff_-'’–。·\u066b€🎉ᚠ𐌰"
    "𐐀\U00010900𒀀𓀀\U0001e900\U0001e922ꙀꙢꟻꭓꞵ"
)

# For tokenizers of any kind: what pre-tokenisers cut at, what normalisers change, and what falls back to bytes.
TEXTS = (
    "",
    " ",
    "a",
    "Heat transfer in hypersonic flow",
    "  two  blanks\tand\u00a0others\u3000\n\nlines \r\n",
    "don't we'll it's DON'T o\u2019clock AAAA bbbb 1111 ???? .... ---- ____ ''''",
    "state-of-the-art e-mail snake_case camelCase HTTPServer",
    "3.14 1,000,000 2024-11-30 1e-9 10% $5 \u20ac7 \u00bd \u00b2 \u2163 007",
    "a.b,c;d:e!f?g(h)[i]{j}<k>/l\\m|n~o`p^q&r*s+t=u",
    "\u201cquoted\u201d \u2018single\u2019 \u00abguillemets\u00bb dash\u2013dash\u2014 ellipsis\u2026",
    "#hash @at user@example.org https://example.org/a?b=c&d=e#f",
    "na\u00efve caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m A\u030angstro\u0308m \u0130 I\u0307 stra\u00dfe STRASSE \ufb01",
    "中国人は日本語をカタカナ ｶﾀｶﾅﾞ ＡＢＣ ㈱ 도서관에서 책을 \u1103\u1169",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\u0645\u062d\u0645\u064e\u0651\u062f \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u05e9\u05b8\u05c1",
    "русский їй Ελληνικάς",
    "\U0001f389 \U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \u2122 \u00a9 \u2603 \U0001d407\U0001d452",
    "zero\u200bwidth soft\u00adhyphen \ufeffmark \u202eturned\u202c \x00 \x07 \x1b[31m \x7f \ufffd \ud800",
    "[MASK] [UNK] [CLS] [SEP] [PAD] <mask> <s> </s> <unk> <|endoftext|> \u2581word \u0120word ##word",
    "x" * 120,
    "ab" * 60 + " \u00e9" * 40,
    "internationalisation antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis qwrtzxcv",
    "def f(x):\n    return x ** 2  # square\n\tif x != 0: pass",
)

_WORDS = {
    "arabic": (
        "الثانية الولايات المصرية الدولية العربية السيارة الحالات حياتها ملايين العالمية الانتخابات السعودية الثاني "
        "المادة الاجتماعية المعلومات خلالها الثانوية الأخيرة للغاية السياسية مجموعات المسلمين الكتابة الشرقية "
        "الغذائية الثقافية"
    ),
    "armenian": (
        "ամենից ազատությունը գրքերը երեխաների հայերենով համալսարանում մարդկանց քաղաքներում աշխատանքի գրողների սիրում "
        "խոսեցին լեռներից դպրոցներ բարձրագույն ժամանակին պատմության կառավարությունը տարիներին ժողովրդական"
    ),
    "basque": (
        "etxeak etxearen gizonarekin herrietan ikasleentzat hizkuntzak euskaraz liburuetatik mendiraino emakumeari "
        "egunero lanean urteko gobernuaren bizitzan hiriko unibertsitatea politikoa historiaren jokalariek "
        "garrantzitsua erabiltzen zituzten dituztelako"
    ),
    "catalan": (
        "moment informació vegada durant estats ciutat segons aquestes vegades diferents història política altres "
        "gràcies paraules policia portar socials polítiques llavors persones aquesta mateix estava manera països "
        "polítics"
    ),
    "czech": (
        "českých řízení dalších nového pracovat utkání funguje skončila jednou prvního prvním začala takové nějakou "
        "společnosti evropské medaili sociální republice společnost informace pracoval nemají americké vlastní "
        "finanční dostali letech"
    ),
    "danish": (
        "succes usa's jazz app'en sms'er dvd'en omkring allerede minutter kvinde finder tidligere moderne vejret "
        "ligger svarer forskellige verden danske spiller personer morgen hurtigt nettet forbindelse næsten passer "
        "information verdens mennesker faktisk første virkelig eu's"
    ),
    "dutch": (
        "voor als maar heeft deze hebben meer omgeving moeten krijgen worden kinderen werken willen anders "
        "verschillende politie natuurlijk gepubliceerd kunnen aandacht blijven bekend problemen helpen achter "
        "russische sommige overheid belangrijke mensen zonder waarde elkaar precies door naar huizen gebouwd "
        "mogelijkheden"
    ),
    "dutch_porter": (
        "omgeving moeten krijgen worden kinderen werken willen anders verschillende politie natuurlijk gepubliceerd "
        "kunnen aandacht blijven bekend problemen helpen achter russische sommige overheid belangrijke mensen zonder "
        "waarde elkaar precies"
    ),
    "english": (
        "university added organization evening emergency universal organic international interfering skis internment "
        "something information united others questions different series private considered better experience positive "
        "possible students really happened business released classes needed called factors various states online "
        "democratic generic communities arsenal intervals nationally succeeding dying exceedingly inning outing "
        "national relational hopefulness hopping controllable"
    ),
    "esperanto": (
        "libroj librojn homoj parolas parolanta legis legante lernejo lernejojn internacia belulino malbona rapide "
        "kantistoj urbestro laboristino skribita estus vidinte amikeco kiujn tiuj unuafoje"
    ),
    "estonian": (
        "raamatud raamatutest inimeste lastele koolides majadesse linnadega keelte räägivad kirjutanud ülikooli "
        "valitsuse ajaloost aastatel poisikesed tulevikuks maailmas suurematest sõpradega teadlased tööle jooksma "
        "küsimusi lugemine"
    ),
    "finnish": (
        "turhan vanhin kerhon joensuuhun mahdollista kanssa mukaan toinen todella jälkeen toisen kotiin päälle mitään "
        "varmasti päästä olivat kertaa yhdessä saanut kuitenkin vuoden lisäksi siellä naisia ihmiset kaikkien asioita "
        "olleet voitti otettu tekevät murhan puutarhan smithin"
    ),
    "french": (
        "française mauvais bijoux japonaise nier nie vraiment question pendant millions autres nouvelles politique "
        "toutes histoire meilleur serait enfants sécurité quelques années france toujours nouvelle rester premier "
        "ensemble semaine présente personnes message nationale choses jamais genoux palais époux nationalité fortunes "
        "mangeaient"
    ),
    "german": (
        "findet system zuerst aktuell regeln gibt's ersten regierung fragen machen deutsche anderen werden müssen "
        "können weiter wirklich wollen vielleicht sondern bleiben region arbeit kommen sicher denken freunde treffen "
        "bedeutet weniger deutsch wieder fehler verwendet bietet häuser kinder systeme zeitungen"
    ),
    "greek": (
        "ίσα γίνεται κάνεισ υπάρχουν πολιτική ελληνικό τελικά αρέσει εργασίασ ανθρώπουσ επίσησ έχουμε κυβέρνηση "
        "βρέθηκε έχοντασ πράγματα μερικέσ ελληνικήσ σεπτεμβρίου πρώτεσ οποίεσ αυτούσ μπορούν κάνετε οικονομικών "
        "ακολουθεί κράτοσ σημαίνει αξίζει ισα"
    ),
    "hindi": (
        "लेकिन सरकार चाहिए द्वारा उन्होंने लोगों उन्हें प्रदेश हमारे दिल्ली ज्यादा भारतीय सिर्फ दुनिया विकास चुनाव "
        "फिल्म कांग्रेस पुलिस पार्टी उत्तर क्योंकि राज्य मंदिर हमारी अच्छा पाकिस्तान क्षेत्र जाएगा महिला"
    ),
    "hungarian": (
        "azonban közben kapott akinek vannak mellett nektek ezeket azokat szerintem vagyunk csinálni voltam nekünk "
        "voltak hatása mondták adatok szükség előtte dolgozni kérdése vették teljesen tetszik kiállítás mondani "
        "nemzeti"
    ),
    "indonesian": (
        "melakukan lainnya sekarang informasi paling dengan pikiran kesempatan adalah bagian perusahaan pilihan "
        "langsung alasan berjalan makanan nyaman perempuan dokter kehidupan universitas secara tolong kantor bupati "
        "bagaimana mencari masyarakat"
    ),
    "irish": (
        "leabhar leabhair leabharlann chathair bhfear gcathracha múinteoirí ollscoileanna rialtais stairiúil bliana "
        "scríbhneoir mhúineadh hÉireann d'oscail b'fhéidir n-athair tsráid phoblacht foghlaim oideachas muintir "
        "eacnamaíochta daonlathach"
    ),
    "italian": (
        "divano all'interno quest'anno all'inizio dell'anno all'estero dell'ordine nell'ambito persone pubblicato "
        "andare durante italiano giornata quando avanti milioni quanto risultati nazionale essere estate politica "
        "attività possono migliore pubblico rispetto principali abbastanza subito diversi lavori qualche abbiamo "
        "capire dell'università divani"
    ),
    "lithuanian": (
        "moterų dizaineriai gyvenimas puikiai skirtas rusijos vilnius lietuvoje gyvenimo žmonių istorija žmonės "
        "metais plotis pagrindinis namuose vienas užsienio kurios viskas naudoti padaryti greitai gyventi visiškai "
        "vietos respublikos vilniaus minučių turėjo moteriai partneriai numerį numeriu"
    ),
    "nepali": (
        "नेपालको विद्यार्थीहरू विद्यालयमा मानिसहरूलाई सरकारले किताबहरू काठमाडौंबाट गर्नुहुन्छ गरेका बोल्दै पढेको "
        "राजनीतिक घरहरूमा देशको समाचारहरू भएको छन् जनताका लेखकले इतिहासमा"
    ),
    "norwegian": (
        "tvers masters fôret fôre fôrer fôres skjer'a pengene ingenting jenter tidligere nesten trenger bergen prisen "
        "startet spennende klarer kvinner ønsker sikkert heller virkelig norske forskjellige passer gjelder mannen "
        "sommeren klarte faktisk informasjon verden skolen ønsket overs ukers univers"
    ),
    "persian": (
        "نیروهای ایرانی بسیاری آمریکایی دیگران متاسفانه نماینده ایرانیان سازمان بهترین نمایندگان داستان جمهوری خودتون "
        "میتونه جلوگیری بتواند برخوردار دانشگاه فرزندان اطلاعاتی درباره درخواست خودمون احتمالی"
    ),
    "polish": (
        "właśnie działania innych dlaczego oczywiście latach informacji pracować jednej części znajduje rozumiem "
        "wyglądają czasami jednym bardziej miałem została pracowników większość policja punktów związane prawie "
        "zmiany tygodniu będzie strony"
    ),
    "porter": (
        "university added organization evening emergency universal organic international interfering skis internment "
        "something information united others questions different series private considered better experience positive "
        "possible students really happened business released classes needed called factors various states online "
        "democratic generic communities arsenal intervals nationally succeeding dying exceedingly inning outing "
        "national relational hopefulness hopping controllable"
    ),
    "portuguese": (
        "estado população quando durante estados obrigada medidas milhões muitos fizeram enquanto mulheres diferentes "
        "cidade história estamos música muitas polícia devido demais voltar várias público comida próprio vários "
        "outras"
    ),
    "romanian": (
        "bucurești același puteți informații universității condiții asociația dezvoltarea anului oamenilor lucrurile "
        "fiecare jumătate numele niciodată faptul membrii lucruri vieții cadrul funcție româniei naționale lucrează "
        "politice politică bărbați vedere națională prezentat funcția ajutor partea înainte începând"
    ),
    "russian": (
        "которого управления течение сделать является сборной говорить разных главный данные российской работает "
        "области начали вернуться компании получили сборная возможность начала организации наверное последний "
        "вернулся руками участников российский данным"
    ),
    "serbian": (
        "pitanje kasnije kojima pitanja srbija dobiti vremena raznih poznati godinama jednog srpski moraju koristi "
        "situaciju aprila velika tijekom postala jednom dobili hrvatske velikog godina srbiji jednim godine ostali"
    ),
    "sesotho": (
        "batho motho bana ngwana dibuka buka sekolong dikolo mosadi basadi bahlankana puisano tsamaile rutile ithuta "
        "mmusong dinaha lebitso mabitso moithuti baithuti sebetsang"
    ),
    "spanish": (
        "informacion constitucion comunicacion información estado durante cuando estados tienes sociales llamada "
        "tenemos minutos fueron medidas mujeres diferentes partido preguntas ciudad momento política justicia "
        "mientras hacerse militar gracias varios necesario nosotros revolucion habitacion organizacion educacion"
    ),
    "swedish": (
        "livet seriöst världskriget började ingenting pengarna sitter fortfarande verkligen vatten tidigare riktigt "
        "svenska pengar föräldrar övriga världen numera barnen information polisen känner händer vilken dagens slutet "
        "gillar sommaren verkar trevlig pratar talet huvudet problemet området antalet"
    ),
    "tamil": (
        "மற்றும் என்று என்பது இல்லை மக்கள் முதல் தமிழ் போன்ற கொண்டு எனக்கு இந்திய மட்டுமே கொண்ட பின்னர் எப்படி பற்றி "
        "சென்னை இருந்த செய்ய இருக்க தமிழக இலங்கை ஒவ்வொரு அவர்களின் இந்தியா சொல்லி என்பதை கல்வி காரணமாக மாதிரி"
    ),
    "turkish": (
        "türkiye'de türkiye'nin istanbul'da türkiye'ye abd'nin ankara'da insanlar teşekkürler onları askeri kendini "
        "hayatını arasında geliyor içinde yeniden ülkenin olması tarafından dünyanın üzerine başına üniversitesi "
        "yapmak istiyorum ortaya görmek ettiği sağlık şehrin yaptığı insanların etmeye"
    ),
    "yiddish": (
        "ביכער מענטשן קינדער שפּראַכן ייִדישע געשריבן לערער לערערין אוניווערסיטעט געשיכטע שרײַבער הײַזער פֿרײַהייט "
        "קינדערלעך גרעסער לייענען געזאָגט לידער רעגירונג מאַמעס"
    ),
}  # fmt: skip


def probes_of(algorithm: str) -> list[str]:
    """Return the words that probe a Snowball algorithm, folded as tokens are; of an unknown one, English's."""
    words = _WORDS.get(algorithm, _WORDS["english"]).split()
    return words + [form.format(word) for word in words for form in _APOSTROPHES]
