"""The wordings of every finding: radiologists' synonyms, and sentences that affirm or deny it.

Slots: {term} a synonym, {place} where ("in the right lower lobe"), {location}, {side}, {severity}, {kind}, {a_kind}
with its article, {size} ("12 mm"), {size_word} ("small"), {count} ("three").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FindingPhrases:
    """The wordings of one finding; the generic ones of `phrases` are added unless `generic` is off.

    Attributes:
        terms: Noun phrases radiologists use for it, in the singular or as mass nouns.
        positive: Whole sentences that affirm it.
        negative: Whole sentences that deny it.
        detail: Sentences that may follow a positive one.
        generic: Whether the terms fit the generic positive wordings.
    """

    terms: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    detail: tuple[str, ...] = ()
    generic: bool = True


PHRASES: tuple[FindingPhrases, ...] = (
    FindingPhrases(
        terms=("medical material", "implanted medical device", "medical device", "metallic hardware"),
        positive=(
            "{a_kind} is in place {place}.",
            "{a_kind} is seen {place}.",
            "Status post placement of {a_kind} {place}.",
            "{kind} noted {place}.",
            "There is {a_kind} {place}.",
            "Medical material: {kind} {place}.",
            "Metallic density of {a_kind} {place}.",
            "{a_kind} projects {place}.",
            "Medical material is observed {place}, consistent with {a_kind}.",
        ),
        negative=("No catheter, lead or surgical material is seen.", "No implanted devices.",
                  "No indwelling lines or tubes."),
        generic=False,
    ),
    FindingPhrases(
        terms=("arterial wall calcification", "aortic calcification", "atherosclerotic calcification of the aorta",
               "calcified atherosclerotic plaque of the aorta"),
        positive=(
            "Calcified atheromatous plaques are observed in the {location}.",
            "Wall calcifications are seen in the {location}.",
            "{severity} atherosclerotic calcification of the {location}.",
            "Calcific atherosclerosis involves the {location}.",
            "There are {severity} calcified plaques along the wall of the {location}.",
            "The {location} shows {severity} mural calcification.",
            "Atherosclerotic wall calcifications in the {location}.",
            "Vascular calcifications are noted at the {location}.",
        ),
        negative=("The aortic wall shows no calcification.", "No calcified aortic plaque.",
                  "The thoracic aorta is free of atherosclerotic calcification."),
    ),
    FindingPhrases(
        terms=("cardiomegaly", "cardiac enlargement", "enlarged heart", "increased heart size"),
        positive=(
            "The heart is enlarged.",
            "Heart size is increased.",
            "{severity} cardiomegaly.",
            "There is {severity} cardiac enlargement.",
            "The cardiothoracic ratio is increased in favour of the heart.",
            "The cardiac silhouette is {severity_adverb} enlarged.",
            "Cardiac size is above normal limits.",
            "The heart is {severity_adverb} enlarged, with a transverse width of {size}.",
        ),
        negative=("Heart size is normal.", "The heart is not enlarged.", "Heart contour and size are normal.",
                  "The heart is of normal size.", "Cardiac size is within normal limits."),
        generic=False,
    ),
    FindingPhrases(
        terms=("pericardial effusion", "pericardial fluid", "fluid in the pericardial space"),
        positive=(
            "Pericardial effusion measuring {size} in thickness.",
            "There is {severity} pericardial effusion.",
            "A {severity} amount of fluid surrounds the heart.",
            "Fluid is seen between the layers of the pericardium, up to {size}.",
            "{severity} pericardial fluid collection.",
            "The pericardial space contains fluid, {size} at its thickest.",
            "Pericardial effusion is observed, {severity} in amount.",
            "Circumferential pericardial fluid of up to {size}.",
        ),
        negative=("The pericardium is normal, without fluid.", "Pericardial effusion-thickening was not observed.",
                  "The pericardial space is dry."),
    ),
    FindingPhrases(
        terms=("coronary artery wall calcification", "coronary artery calcification", "coronary calcification",
               "calcified coronary plaque", "coronary atherosclerosis"),
        positive=(
            "Calcified plaques are seen in the {location}.",
            "{severity} coronary artery calcification, in the {location}.",
            "Coronary arteries show {severity} calcific atherosclerosis.",
            "Calcific foci along the {location}.",
            "There is {severity} calcification of the coronary arteries.",
            "Atherosclerotic calcifications of the {location}.",
            "Coronary artery wall calcifications are observed.",
            "Dense coronary plaques in the {location}.",
        ),
        negative=("The coronary arteries show no calcification.", "No calcified coronary plaque.",
                  "Coronary arteries are free of calcified atheroma."),
    ),
    FindingPhrases(
        terms=("hiatal hernia", "hiatus hernia", "sliding hiatal hernia", "herniation of the stomach into the chest"),
        positive=(
            "Hiatal hernia, {kind}.",
            "There is a {severity} hiatal hernia measuring {size}.",
            "Part of the stomach is herniated through the oesophageal hiatus, {kind}.",
            "{severity} hiatus hernia behind the heart.",
            "A retrocardiac pouch of stomach of {size} is seen above the diaphragm.",
            "Sliding type hiatal hernia is observed.",
            "The gastric fundus extends into the thorax through the hiatus.",
            "Retrocardiac hiatal hernia {kind}, {size} wide.",
        ),
        negative=("The oesophageal hiatus is normal.", "The stomach lies below the diaphragm.",
                  "No herniation through the diaphragm."),
    ),
    FindingPhrases(
        terms=("lymphadenopathy", "lymph node enlargement", "enlarged lymph nodes", "pathological lymph nodes",
               "adenopathy"),
        positive=(
            "Enlarged lymph nodes are seen {place}, the largest {size}.",
            "{severity} {location} lymphadenopathy.",
            "There are {count} enlarged lymph nodes {place}, up to {size}.",
            "Pathologically enlarged nodes {place}, measuring up to {size} in short axis.",
            "{location} adenopathy with a short axis of {size}.",
            "Lymphadenomegaly is observed {place}.",
            "Multiple nodes of increased size {place}.",
            "Lymph nodes {place} reach a diameter of {size}.",
        ),
        negative=("No lymph node in pathological size and appearance.", "Lymph nodes are not enlarged.",
                  "No mediastinal or hilar adenopathy.", "Mediastinal nodes are normal in size."),
        generic=False,
    ),
    FindingPhrases(
        terms=("emphysema", "pulmonary emphysema", "emphysematous change", "emphysematous lung destruction"),
        positive=(
            "{kind} emphysema {place}.",
            "{severity} {kind} emphysema is observed {place}.",
            "Emphysematous changes are present {place}, {kind} in type.",
            "There is {severity} emphysematous destruction of the parenchyma {place}.",
            "Areas of low attenuation without walls {place}, consistent with emphysema.",
            "Increased aeration and emphysematous change {place}.",
            "{severity} centrally and peripherally distributed emphysema {place}.",
            "Emphysematous lungs, {kind}, {severity}.",
        ),
        negative=("No emphysematous areas.", "The lungs show no emphysematous destruction.",
                  "No bulla or emphysema."),
    ),
    FindingPhrases(
        terms=("atelectasis", "atelectatic change", "volume loss", "subsegmental collapse", "collapsed lung"),
        positive=(
            "{kind} atelectasis {place}.",
            "There are atelectatic changes {place}.",
            "{severity} {kind} atelectasis is seen {place}.",
            "Loss of volume with {kind} atelectasis {place}.",
            "{kind} densities of atelectasis {place}.",
            "Subsegmental collapse {place}.",
            "Atelectasis of the {kind} type is observed {place}.",
            "Airless lung with volume loss {place}, {kind} atelectasis.",
        ),
        negative=("No collapse.", "Lung volumes are preserved, with no atelectasis.",
                  "No subsegmental or lobar collapse."),
    ),
    FindingPhrases(
        terms=("lung nodule", "pulmonary nodule", "nodular lesion", "pulmonary nodules"),
        positive=(
            "{count_kind_nodules} {place}, up to {size}.",
            "A {kind} nodule of {size} is seen {place}.",
            "{kind} pulmonary nodule measuring {size} {place}.",
            "There is a {size} {kind} nodule {place}.",
            "{count_kind_nodules} observed {place}; the largest measures {size}.",
            "Nodular lesion {place}, {kind}, {size} in diameter.",
            "A round {kind} lesion with a diameter of {size} {place}.",
            "{kind} nodularity {place}, largest diameter {size}.",
        ),
        negative=("No nodule or mass in either lung.", "No suspicious nodules.", "The lungs are free of nodules."),
        detail=("The largest nodule measures {size}.", "Follow-up of the nodule is recommended."),
        generic=False,
    ),
    FindingPhrases(
        terms=("lung opacity", "ground-glass opacity", "pulmonary opacity", "hazy parenchymal opacity",
               "ground glass density"),
        positive=(
            "{kind} ground-glass opacity {place}.",
            "Ground-glass densities are seen {place}.",
            "There is {kind} hazy opacity {place}.",
            "{severity} areas of ground glass {place}.",
            "Parenchymal opacity of ground-glass density {place}, {kind}.",
            "Hazy increase in attenuation {place}, with vessels still visible.",
            "{kind} opacities of ground-glass type are observed {place}.",
            "Frosted-glass appearance {place}, {severity}.",
        ),
        negative=("No ground-glass area.", "Lung aeration is normal, with no opacity.",
                  "No focal parenchymal opacity."),
    ),
    FindingPhrases(
        terms=("pulmonary fibrotic sequela", "fibrotic sequelae", "fibrotic change", "parenchymal scarring",
               "fibrotic bands"),
        positive=(
            "Fibrotic sequelae {place}.",
            "Sequela fibrotic bands are seen {place}.",
            "There is {severity} parenchymal scarring {place}.",
            "{kind} fibrotic changes {place}.",
            "Pleuroparenchymal sequelae with fibrotic strands {place}.",
            "Linear scars and distortion {place}.",
            "{severity} sequela changes of fibrosis are observed {place}.",
            "Fibroatelectatic strands of old scarring {place}.",
        ),
        negative=("No fibrotic sequela change.", "No parenchymal scar.", "No fibrosis or scarring of the lungs."),
    ),
    FindingPhrases(
        terms=("pleural effusion", "pleural fluid", "fluid in the pleural space", "hydrothorax"),
        positive=(
            "{size_word} pleural effusion {place}, {size} thick.",
            "There is a {size_word} {side} pleural effusion.",
            "Pleural fluid {place}, reaching {size} in thickness.",
            "{side} pleural effusion is observed, {size_word} in amount.",
            "Free fluid in the {side} pleural space, up to {size}.",
            "A {size_word} amount of pleural fluid {place}.",
            "{side} {size_word} effusion between the pleural leaves.",
            "Layering {side} pleural fluid of {size}.",
        ),
        negative=("No fluid in the pleural spaces.", "The costophrenic angles are clear, without effusion.",
                  "Pleural effusion-thickening was not detected."),
    ),
    FindingPhrases(
        terms=("mosaic attenuation pattern", "mosaic attenuation", "mosaic perfusion",
               "heterogeneous lung attenuation"),
        positive=(
            "Mosaic attenuation of both lungs.",
            "There is a {severity} mosaic attenuation pattern.",
            "Patchwork of darker and brighter lung {place}, a mosaic pattern.",
            "Mosaic perfusion pattern {place}.",
            "Geographic areas of differing attenuation {place}, consistent with mosaic attenuation.",
            "{severity} mosaic density differences are observed {place}.",
            "Heterogeneous parenchymal attenuation in a mosaic pattern {place}.",
            "A mosaic pattern is noted, suggesting small airway or small vessel disease.",
        ),
        negative=("Lung attenuation is homogeneous.", "No mosaic pattern.", "No heterogeneity of lung attenuation."),
    ),
    FindingPhrases(
        terms=("peribronchial thickening", "bronchial wall thickening", "peribronchial cuffing",
               "thickened bronchial walls"),
        positive=(
            "Bronchial walls are thickened {place}.",
            "{severity} bronchial wall thickening {place}.",
            "There is {severity} peribronchial thickening.",
            "Diffuse peribronchial cuffing {place}.",
            "Peribronchial thickening is observed {place}, walls up to {size}.",
            "Thick-walled bronchi {place}.",
            "Increased thickness of the bronchial walls, {severity}.",
            "Peribronchovascular cuffing with wall thickness of {size}.",
        ),
        negative=("Bronchial walls are of normal thickness.", "No peribronchial cuffing.",
                  "The bronchi are thin-walled."),
    ),
    FindingPhrases(
        terms=("consolidation", "airspace consolidation", "consolidated lung", "consolidative airspace disease"),
        positive=(
            "{kind} consolidation {place}.",
            "There is {kind} consolidation {place}.",
            "Consolidated lung {place}, {size} across.",
            "Dense airspace consolidation {place}.",
            "{severity} {kind} consolidation is observed {place}.",
            "Airless consolidated parenchyma {place}, compatible with pneumonia.",
            "Consolidative area of {size} {place}.",
            "Homogeneous alveolar consolidation {place}.",
        ),
        negative=("No airspace consolidation.", "No pneumonic infiltration or consolidation.",
                  "No consolidated area in either lung."),
    ),
    FindingPhrases(
        terms=("bronchiectasis", "bronchial dilatation", "bronchiectatic change", "dilated bronchi"),
        positive=(
            "{kind} bronchiectasis {place}.",
            "Bronchi are dilated {place}.",
            "There is {severity} {kind} bronchiectasis {place}.",
            "Bronchiectatic changes are seen {place}, {kind}.",
            "Dilated airways with a diameter up to {size} {place}.",
            "{severity} bronchial dilatation {place}.",
            "Tubular bronchiectasis is observed {place}.",
            "Ectatic bronchi that do not taper {place}.",
        ),
        negative=("Bronchi are of normal calibre.", "No dilated airways.", "The bronchi taper normally."),
    ),
    FindingPhrases(
        terms=("interlobular septal thickening", "septal thickening", "thickened interlobular septa", "septal lines"),
        positive=(
            "Interlobular septa are thickened {place}.",
            "{severity} smooth interlobular septal thickening {place}.",
            "There is a network of thickened septal lines {place}.",
            "Septal thickening in the periphery {place}.",
            "Prominent interlobular septa {place}.",
            "Smooth septal lines are observed {place}, {severity}.",
            "Interlobular septal prominence {place}, suggesting interstitial oedema.",
            "Reticular thickening of the interlobular septa {place}.",
        ),
        negative=("Interlobular septa are not thickened.", "No septal lines.",
                  "The interstitium is normal, no thickened septa."),
    ),
)  # fmt: skip
"""Wordings per finding, in CT-RATE order."""
